"""Training a recipe, from its data to published weights; a run that is stopped goes on exactly."""

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import keras

from tfflows import data, zoo
from tfflows._backend.hosts import single_host
from tfflows.errors import InputError, StoreError
from tfflows.evaluation import evaluate
from tfflows.evaluation.images import sample_images, save_png
from tfflows.training import callbacks, checkpoints, devices
from tfflows.zoo import store
from tfflows.zoo.builder import compile_flow
from tfflows.zoo.recipe import Recipe

PACKAGES = ("tfflows", "keras", "numpy", "tensorflow", "tensorflow-probability", "tfp-nightly", "jax")

WORK = ".training"  # where the checkpoints of a run are, beside the versions


@dataclass(frozen=True)
class Run:
    """What determines the weights that training ends with.

    Attributes:
        recipe: what to train.
        seed: of the initial weights, the order of the images and the noise.
        limit: use at most so many images of each split; None for all.
        path: images to use in place of the recipe's data set, see `data.arrays`.
    """

    recipe: Recipe
    seed: int = 0
    limit: int | None = None
    path: str | Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns nested dicts, lists and scalars, equal after a round trip through JSON."""
        # Where other weights are published is no part of a run.
        recipe = dataclasses.replace(self.recipe, weights=None).to_dict()
        path = None if self.path is None else os.path.abspath(self.path)
        return json.loads(json.dumps({"recipe": recipe, "seed": self.seed, "limit": self.limit, "path": path}))


def train(
    run: Run,
    *,
    output: str | Path | None = None,
    resume: bool = False,
    minutes: float | None = None,
    strategy: str | None = None,
    hosts: Sequence[str] = (),
    host_index: int = 0,
) -> Path | None:
    """Trains a recipe and publishes the result as the next version of `<output>/<name>/`.

    Published are the weights with the best validation bits/dim (their moving average, where the recipe has
    one), the recipe, test metrics with the learning curve, samples, and the SavedModel where Keras runs on
    TensorFlow. TensorBoard's logs go to `<output>/<name>/logs/<version>`, a checkpoint of each epoch to
    `<output>/<name>/.training`. A run that was stopped goes on after its last whole epoch, to the same
    weights as one that was not: noise and batches are functions of the seed and the step, and a checkpoint
    has all else. (TensorFlow sums in a fixed order on a GPU only where TF_DETERMINISTIC_OPS=1 is set.)

    Args:
        run: what to train.
        output: root of the versions; by default where `zoo.load` looks first.
        resume: go on with the run that was stopped; where there is none, start one.
        minutes: stop after the last epoch that ends within so many minutes (at least one epoch), to go on later with
            `resume`: for batch queues and notebooks with a time limit, as Slurm and Colab have. One host alone.
        strategy: "mirrored" or "tpu", to share every batch between the devices of this machine, see
            `devices.strategy_scope`.
        hosts: the addresses of all processes that train together, with JAX, see `devices.join_hosts`. All are
            started with the same arguments but for `host_index`; the first one writes, so that, with `resume`,
            the others have to see its output.
        host_index: which of `hosts` this process is.

    Returns:
        The folder of the new version; None on hosts after the first, and where `minutes` were over.

    Raises:
        DivergedError: the loss became NaN or infinite.
        StoreError: there is a run that was stopped and `resume` is not set, or one that was started
            with other arguments, or one in another process.
        DataError: the images cannot be had.
    """
    recipe = dataclasses.replace(run.recipe, weights=None)
    run = dataclasses.replace(run, recipe=recipe)
    parent = Path(output or store.home()).expanduser() / store.check_name(recipe.name)
    if host_index and not hosts:
        raise InputError(f"host_index is {host_index} and there are no hosts: give the addresses of all as `hosts`")
    if hosts and minutes is not None:
        raise InputError(f"minutes is {minutes} and there are hosts, which would not stop together: leave one out")
    if hosts:
        keras.utils.set_random_seed(run.seed)  # or else the hosts agree on one when they join
        devices.join_hosts(hosts, host_index)
    share = (host_index, len(hosts) or 1)
    if host_index:
        _train(run, parent, resume, strategy, share, minutes)
        devices.leave_hosts()
        return None
    parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = filelock.FileLock(parent / ".training.lock").acquire(timeout=0)
    except filelock.Timeout as error:
        raise StoreError(f"another process is training in {parent}: wait until it ends") from error
    with lock:
        # Read before training, so that a missing test split is reported now and not after hours.
        test = data.arrays(recipe.data, "test", run.limit, run.path)
        history = _train(run, parent, resume, strategy, share, minutes)
        if hosts:
            devices.leave_hosts()
        if len(history) < recipe.train.epochs:
            return None
        folder = _publish(run, test, history, parent)
        shutil.rmtree(parent / WORK)
    return folder


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """A context in which networks are built with a dtype policy of Keras; flow layers stay in float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def _without_constant_folding() -> Iterator[None]:
    """A context in which TensorFlow's graph optimiser does not look for constants to fold.

    In the graph of a training step it finds next to none, in a time that grows faster than the graph: of the first step
    of 96 flow steps it takes a third (benchmarks/README.md).
    """
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    options = tf.config.optimizer
    before = options.get_experimental_options()
    options.set_experimental_options({"constant_folding": False})
    try:
        yield
    finally:
        options.set_experimental_options({"constant_folding": before.get("constant_folding", True)})


def _train(
    run: Run, parent: Path, resume: bool, strategy: str | None, share: tuple[int, int], minutes: float | None
) -> list[dict[str, Any]]:
    """Trains to the end and returns the history; the first host leaves checkpoints in `parent`."""
    recipe = run.recipe
    work, logs = parent / WORK, parent / "logs" / str(max(store.versions(parent), default=0) + 1)
    first_host = share[0] == 0
    checkpoint = _checkpoint_to_resume(work, run, resume)
    history = checkpoints.read_progress(checkpoint)[1] if checkpoint else []
    train, seed, images = recipe.train, run.seed, {"limit": run.limit, "path": run.path}
    first_epoch = devices.agreed(len(history), f"epochs in {work}")
    if checkpoint is None and first_host:
        for leftover in (work, logs):
            shutil.rmtree(leftover, ignore_errors=True)
    batches, steps_per_epoch = data.training_batches(
        recipe.data, train.batch_size, seed, first_epoch=first_epoch, share=share, **images
    )

    keras.utils.set_random_seed(seed)
    after_epoch = []
    with devices.strategy_scope(strategy), precision(train.precision):
        flow = zoo.build(recipe, seed)
        compile_flow(flow, train, steps_per_epoch)
        flow.optimizer.build(flow.trainable_variables)
        if first_host:
            validation = data.batches(recipe.data, "validation", train.batch_size, **images)
            with single_host():
                averaged = zoo.build(recipe, seed)
                averaged.compile(None, jit_compile=flow.jit_compile)
            after_epoch.append(checkpoints.Checkpoints(work, run.to_dict(), history, averaged, validation))
            after_epoch.append(callbacks.EpochLines())
            if importlib.util.find_spec("tensorflow"):
                after_epoch.append(callbacks.Summaries(logs, averaged))
        if minutes is not None:
            after_epoch.append(callbacks.TimeLimit(minutes))
    if checkpoint:
        checkpoints.restore(checkpoint, flow)
    if first_epoch < train.epochs:
        if first_host:
            print(
                f"{recipe.name}: {flow.count_params():,} weights, {steps_per_epoch} steps an epoch, "
                f"epochs {first_epoch + 1} to {train.epochs} on {_device()}; tensorboard --logdir {logs}",
                flush=True,
            )
        with _without_constant_folding():
            flow.fit(
                batches,
                initial_epoch=first_epoch,
                epochs=train.epochs,
                steps_per_epoch=steps_per_epoch,
                shuffle=False,
                callbacks=after_epoch,
                verbose=int(first_host and sys.stdout.isatty()),
            )
    return history


def _publish(run: Run, test: dict[str, Any], history: list[dict[str, Any]], parent: Path) -> Path:
    recipe = run.recipe
    flow = zoo.build(recipe, run.seed)  # anew: not in the precision of training, and on one device
    checkpoints.restore_best(checkpoints.last_checkpoint(parent / WORK), flow)
    best = min(history, key=lambda epoch: epoch["val_bits_per_dim"])
    metrics = {
        "name": recipe.name,
        **evaluate(flow, test, recipe.evaluation, recipe.train.batch_size),
        "split": recipe.data.test,
        "data": data.version(recipe.data, run.path),
        "seed": run.seed,
        "limit": run.limit,
        "num_parameters": flow.count_params(),
        "best_epoch": best["epoch"],
        "validation_bits_per_dim": best["val_bits_per_dim"],
        "seconds": round(sum(epoch["seconds"] for epoch in history), 1),
        "device": _device(),
        "versions": _versions(),
        "history": history,
    }

    def write(folder: Path) -> None:
        (folder / "recipe.toml").write_text(recipe.to_toml(), "utf-8")
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
        checkpoints.save_weights(flow, folder / "model.weights.h5")
        save_png(folder / "samples.png", sample_images(flow), flow.num_values)
        if keras.backend.backend() == "tensorflow":
            from tfflows.export import export

            export(flow, folder)

    return store.publish(parent, write)


def _checkpoint_to_resume(work: Path, run: Run, resume: bool) -> Path | None:
    """Returns the checkpoint to go on from, or None to start; StoreError where it is not what the arguments say."""
    checkpoint = checkpoints.last_checkpoint(work)
    if checkpoint is None:
        return None
    store.verify(checkpoint)
    stopped, remedy = f"a run stopped after epoch {checkpoint.name}", f"or delete {work} to start again"
    if not resume:
        raise StoreError(f"{stopped}: go on with --resume, {remedy}")
    started, given = _flatten(checkpoints.read_progress(checkpoint)[0]), _flatten(run.to_dict())
    for key in sorted(started.keys() | given.keys()):
        if started.get(key) != given.get(key):
            raise StoreError(
                f"{stopped} that was started with {key} = {started.get(key)!r}, not {given.get(key)!r}: "
                f"go on with the same arguments, {remedy}"
            )
    return checkpoint


def _flatten(tree: Any, path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Returns {"recipe.train.epochs": 5, ...} from nested dicts."""
    if not isinstance(tree, dict):
        return {".".join(path): tree}
    return {key: leaf for name, sub in tree.items() for key, leaf in _flatten(sub, (*path, name)).items()}


def _device() -> str:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    else:
        import jax

        names = [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    return ", ".join(names) or f"CPU, {os.cpu_count()} cores"


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "backend": keras.backend.backend()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions
