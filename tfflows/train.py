"""Training a recipe, from its data to published weights; a run that is stopped goes on exactly."""

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
from pathlib import Path

import filelock
import keras

from tfflows import _backend, callbacks, data, devices, store, zoo
from tfflows.evaluate import evaluate
from tfflows.optimizers import compile_flow, precision
from tfflows.visualize import sample_images, save_png

PACKAGES = ("tfflows", "keras", "numpy", "tensorflow", "tensorflow-probability", "tfp-nightly", "jax")

WORK = ".training"  # where the checkpoints of a run are, beside the versions


def fit(
    recipe,
    *,
    seed=0,
    limit=None,
    path=None,
    output=None,
    resume=False,
    strategy=None,
    hosts=(),
    host_index=0,
    minutes=None,
):
    """Train a recipe and publish the result as the next version of `<output>/<name>/`.

    Published are the weights with the best validation bits/dim (their moving average, where the recipe has
    one), the recipe, test metrics with the learning curve, samples, and the SavedModel where Keras runs on
    TensorFlow. TensorBoard's logs go to `<output>/<name>/logs/<version>`, a checkpoint of each epoch to
    `<output>/<name>/.training`. A run that was stopped goes on after its last whole epoch, to the same
    weights as one that was not: noise and batches are functions of the seed and the step, and a checkpoint
    has all else. (TensorFlow sums in a fixed order on a GPU only where TF_DETERMINISTIC_OPS=1 is set.)

    Args:
        recipe: a `Recipe`.
        seed: of the initial weights, the order of the images and the noise.
        limit: use at most so many images of each split.
        path: images to use in place of the recipe's data set, see `data.arrays`.
        output: root of the versions; by default where `zoo.load` looks first.
        resume: go on with the run that was stopped; where there is none, start one.
        strategy: "mirrored" or "tpu", to share every batch between the devices of this machine, see
            `devices.strategy_scope`.
        hosts: the addresses of all processes that train together, with JAX, see `devices.join_hosts`. All are
            started with the same arguments but for `host_index`; the first one writes, so that, with `resume`,
            the others have to see its output. host_index: which of them this process is.
        minutes: stop after the epoch, but the first, that another one would not end in so many minutes: the run
            can go on with `resume`, as on a machine that is lent for a while. One host alone.

    Returns:
        The folder of the new version; None on hosts after the first, and where `minutes` were over.

    Raises:
        callbacks.DivergedError: the loss became NaN or infinite.
        store.StoreError: there is a run that was stopped and `resume` is not set, or one that was started
            with other arguments, or one in another process.
        datasets.DataError: the images cannot be had.
    """
    recipe = dataclasses.replace(recipe, weights=None)  # where other weights are published is no part of a run
    run = {"recipe": recipe.to_dict(), "seed": seed, "limit": limit, "path": path and os.path.abspath(path)}
    run = json.loads(json.dumps(run))  # as a checkpoint gives it back
    parent = Path(output or store.home()).expanduser() / store.check_name(recipe.name)
    if host_index and not hosts:
        raise ValueError(f"host_index is {host_index} and there are no hosts: give the addresses of all as `hosts`")
    if hosts and minutes is not None:
        raise ValueError(f"minutes is {minutes} and there are hosts, which would not stop together: leave one out")
    if hosts:
        keras.utils.set_random_seed(seed)  # or else the hosts agree on one when they join
        devices.join_hosts(hosts, host_index)
    share = (host_index, len(hosts) or 1)
    if host_index:
        _train(recipe, run, parent, resume, strategy, share, minutes)
        devices.leave_hosts()
        return None
    parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = filelock.FileLock(parent / ".training.lock").acquire(timeout=0)
    except filelock.Timeout as error:
        raise store.StoreError(f"another process is training in {parent}: wait until it ends") from error
    with lock:
        test = data.arrays(recipe.data, "test", limit, path)  # what is missing is missed before training
        history = _train(recipe, run, parent, resume, strategy, share, minutes)
        if hosts:
            devices.leave_hosts()
        if len(history) < recipe.train.epochs:
            return None
        folder = _publish(recipe, run, test, history, parent)
        shutil.rmtree(parent / WORK)
    return folder


def _train(recipe, run, parent, resume, strategy, share, minutes):
    """Train to the end; the first host leaves checkpoints in `parent`. Returns the history."""
    work, logs = parent / WORK, parent / "logs" / str(max(store.versions(parent), default=0) + 1)
    first_host = share[0] == 0
    checkpoint = _checkpoint_to_resume(work, run, resume)
    history = callbacks.read_progress(checkpoint)[1] if checkpoint else []
    train, seed, images = recipe.train, run["seed"], {"limit": run["limit"], "path": run["path"]}
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
            with _backend.apart():
                averaged = zoo.build(recipe, seed)
                averaged.compile(None, jit_compile=flow.jit_compile)
            after_epoch.append(callbacks.Checkpoints(work, run, history, averaged, validation))
            if importlib.util.find_spec("tensorflow"):
                after_epoch.append(callbacks.Summaries(logs, averaged))
        if minutes is not None:
            after_epoch.append(callbacks.TimeLimit(minutes))
    if checkpoint:
        callbacks.restore(checkpoint, flow)
    if first_epoch < train.epochs:
        if first_host:
            print(
                f"{recipe.name}: {flow.count_params():,} weights, {steps_per_epoch} steps an epoch, "
                f"epochs {first_epoch + 1} to {train.epochs} on {_device()}; tensorboard --logdir {logs}",
                flush=True,
            )
        flow.fit(
            batches,
            initial_epoch=first_epoch,
            epochs=train.epochs,
            steps_per_epoch=steps_per_epoch,
            shuffle=False,
            callbacks=after_epoch,
            verbose="auto" if first_host else 0,
        )
    return history


def _publish(recipe, run, test, history, parent):
    flow = zoo.build(recipe, run["seed"])  # anew: not in the precision of training, and on one device
    callbacks.restore_best(callbacks.last_checkpoint(parent / WORK), flow)
    best = min(history, key=lambda epoch: epoch["val_bits_per_dim"])
    metrics = {
        "name": recipe.name,
        **evaluate(flow, test, recipe.evaluation, recipe.train.batch_size),
        "split": recipe.data.test,
        "data": data.version(recipe.data, run["path"]),
        "seed": run["seed"],
        "limit": run["limit"],
        "num_parameters": flow.count_params(),
        "best_epoch": best["epoch"],
        "validation_bits_per_dim": best["val_bits_per_dim"],
        "seconds": round(sum(epoch["seconds"] for epoch in history), 1),
        "device": _device(),
        "versions": _versions(),
        "history": history,
    }

    def write(folder):
        (folder / "recipe.toml").write_text(recipe.to_toml(), "utf-8")
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
        callbacks.save_weights(flow, folder / "model.weights.h5")
        save_png(folder / "samples.png", sample_images(flow), flow.num_values)
        if keras.backend.backend() == "tensorflow":
            from tfflows.export import export

            export(flow, folder)

    return store.publish(parent, write)


def _checkpoint_to_resume(work, run, resume):
    """The checkpoint to go on from, or None to start; StoreError where it is not what the arguments say."""
    checkpoint = callbacks.last_checkpoint(work)
    if checkpoint is None:
        return None
    store.verify(checkpoint)
    stopped, remedy = f"a run stopped after epoch {checkpoint.name}", f"or delete {work} to start again"
    if not resume:
        raise store.StoreError(f"{stopped}: go on with --resume, {remedy}")
    started, given = _flatten(callbacks.read_progress(checkpoint)[0]), _flatten(run)
    for key in sorted(started.keys() | given.keys()):
        if started.get(key) != given.get(key):
            raise store.StoreError(
                f"{stopped} that was started with {key} = {started.get(key)!r}, not {given.get(key)!r}: "
                f"go on with the same arguments, {remedy}"
            )
    return checkpoint


def _flatten(tree, path=()):
    """{"recipe.train.epochs": 5, ...} from nested dicts."""
    if not isinstance(tree, dict):
        return {".".join(path): tree}
    return {key: leaf for name, sub in tree.items() for key, leaf in _flatten(sub, (*path, name)).items()}


def _device():
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    else:
        import jax

        names = [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    return ", ".join(names) or f"CPU, {os.cpu_count()} cores"


def _versions():
    versions = {"python": platform.python_version(), "backend": keras.backend.backend()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions
