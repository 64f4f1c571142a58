"""Training a recipe, from its data to published weights; a run that was stopped resumes exactly."""

import contextlib
import dataclasses
import importlib.util
import json
import os
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
from tfflows.flow import batches as images_of_fit
from tfflows.flow import statistics
from tfflows.training import callbacks, checkpoints, devices
from tfflows.training.publish import device, emulates_bfloat16, publish
from tfflows.zoo import store
from tfflows.zoo.builder import compile_flow
from tfflows.zoo.recipe import Recipe


@dataclass(frozen=True)
class Run:
    """What determines the weights that training ends with.

    Attributes:
        recipe: what to train.
        seed: of the initial weights, the order of the images and the noise.
        limit: use at most so many images of each split; None for all.
        path: images to use in place of the recipe's data set, see `data.arrays`.
        name: under which the weights are stored; by default `zoo.stored_name`, which keeps a run that is limited, on
            other data or of a changed recipe from taking the place of an entry of the zoo.
    """

    recipe: Recipe
    seed: int = 0
    limit: int | None = None
    path: str | Path | None = None
    name: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns nested dicts, lists and scalars, equal after a round trip through JSON."""
        # Where weights of the recipe are published does not determine what is trained.
        recipe = dataclasses.replace(self.recipe, hub=None).to_dict()
        run = {"recipe": recipe, "seed": self.seed, "limit": self.limit, "path": absolute(self.path)}
        return json.loads(json.dumps(run))

    def named(self) -> "Run":
        """Returns the run with its name settled, in its recipe too, and without the recipe's address of weights."""
        name = store.check_name(self.name or zoo.stored_name(self.recipe, self.limit, self.path))
        return dataclasses.replace(self, recipe=dataclasses.replace(self.recipe, name=name, hub=None), name=name)


def absolute(path: str | Path | None) -> str | None:
    """Returns the absolute path, or None for None."""
    return None if path is None else os.path.abspath(Path(path).expanduser())


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
    """Trains a recipe and publishes the result as the next version of `<output>/<run.name>/`.

    A version holds the weights with the best validation bits/dim (their moving average, where the recipe has one),
    the recipe, test metrics with the learning curve, samples and, where Keras runs on TensorFlow, the SavedModel.
    TensorBoard's logs go to `<output>/<name>/logs/<version>`, a checkpoint of each epoch to
    `<output>/<name>/.training`. A run that was stopped resumes after its last complete epoch and ends at the same
    weights as one that was not stopped: noise and batches are functions of the seed and the step, and a checkpoint
    holds everything else. (On a GPU TensorFlow sums in a fixed order only where TF_DETERMINISTIC_OPS=1 is set.)

    Args:
        run: what to train.
        output: root of the versions; by default where `zoo.load` looks first.
        resume: resume the run that was stopped; where there is none, start one.
        minutes: stop after the last epoch that ends within so many minutes (at least one epoch), to be resumed later:
            for batch queues and notebooks with a time limit, such as Slurm and Colab. For one host only.
        strategy: "mirrored" or "tpu", to share every batch between the devices of this machine, see
            `devices.strategy_scope`.
        hosts: the addresses of all processes that train together, with JAX, see `devices.join_hosts`. All are
            started with the same arguments except `host_index`. The first one writes; to resume, the others must be
            able to read its output.
        host_index: which of `hosts` this process is.

    Returns:
        The folder of the new version; None on hosts after the first, and where the time was over before the end.

    Raises:
        DivergedError: the loss became NaN or infinite.
        StoreError: a run was stopped and `resume` is not set, it was started with other arguments, or another process
            is training.
        DataError: the images are missing, or are not what the recipe says.
    """
    run = run.named()
    recipe = run.recipe
    parent = Path(output or store.home()).expanduser() / recipe.name
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
        # Opened before training, so that a missing test split is reported now and not after hours.
        test = data.batches(recipe.data, "test", recipe.train.batch_size, run.limit, run.path)
        history = _train(run, parent, resume, strategy, share, minutes)
        if hosts:
            devices.leave_hosts()
        if len(history) < recipe.train.epochs:
            return None
        folder = publish(run, test, history, parent, int(sys.stdout.isatty()))
        # Renamed first: a process killed while it removes files must not leave half a checkpoint to resume from.
        ended = parent / f"{checkpoints.WORK}.ended"
        shutil.rmtree(ended, ignore_errors=True)
        (parent / checkpoints.WORK).rename(ended)
        shutil.rmtree(ended)
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


def _train(
    run: Run, parent: Path, resume: bool, strategy: str | None, share: tuple[int, int], minutes: float | None
) -> list[dict[str, Any]]:
    """Trains to the end and returns the history; the first host leaves checkpoints in `parent`."""
    recipe = run.recipe
    work, logs = parent / checkpoints.WORK, parent / "logs" / str(store.next_version(parent))
    first_host = share[0] == 0
    checkpoint = _checkpoint_to_resume(work, run, resume)
    history = checkpoints.read_progress(checkpoint)[1] if checkpoint else []
    train, seed, images = recipe.train, run.seed, {"limit": run.limit, "path": run.path}
    first_epoch = devices.agreed(len(history), f"epochs in {work}")
    if checkpoint is None and first_host:
        for leftover in (work, logs):
            shutil.rmtree(leftover, ignore_errors=True)

    def stream(epoch: int) -> tuple[Any, int]:
        return data.training_batches(recipe.data, train.batch_size, seed, first_epoch=epoch, share=share, **images)

    batches, steps_per_epoch = stream(first_epoch)
    keras.utils.set_random_seed(seed)
    after_epoch = []
    with devices.strategy_scope(strategy), precision(train.precision):
        flow = zoo.build(recipe, seed)
        compile_flow(flow, train, steps_per_epoch)
        flow.optimizer.build(flow.trainable_variables)
        flow.fit_updates_statistics = False  # `Checkpoints` does, for the averaged weights
        if first_host:
            validation = data.batches(recipe.data, "validation", train.batch_size, **images)
            with single_host():
                averaged = zoo.build(recipe, seed)
                averaged.compile(None, jit_compile=flow.jit_compile)
            seen = None
            if statistics.has_statistics(flow.transform):
                # Always those of the first epoch, so that a resumed run sees the same.
                source = batches if first_epoch == 0 else stream(0)[0]
                seen = images_of_fit.choose(source, min(steps_per_epoch * train.batch_size, statistics.NUM_IMAGES))
            after_epoch.append(checkpoints.Checkpoints(work, run.to_dict(), history, averaged, validation, seen))
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
                f"epochs {first_epoch + 1} to {train.epochs} on {device()}; tensorboard --logdir {logs}",
                flush=True,
            )
            if train.precision == "mixed_bfloat16" and emulates_bfloat16():
                print("this CPU has no arithmetic in bfloat16: --precision float32 is faster on it", flush=True)
        with devices.without_constant_folding():
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


def _checkpoint_to_resume(work: Path, run: Run, resume: bool) -> Path | None:
    """Returns the checkpoint to resume from, or None to start; StoreError where the arguments contradict it."""
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
