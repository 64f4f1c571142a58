"""What a run publishes: the best weights, measured, with a record of how they came about."""

import contextlib
import importlib.metadata
import json
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from tfflows import data, zoo
from tfflows.evaluation import evaluate
from tfflows.evaluation.calibration import FILE, NUM_CALIBRATION, calibrate
from tfflows.evaluation.images import save_png
from tfflows.plots import sample_images
from tfflows.training import checkpoints
from tfflows.zoo import store

if TYPE_CHECKING:
    from tfflows.training.run import Run

PACKAGES = ("tfflows", "keras", "numpy", "tensorflow", "tensorflow-probability", "tfp-nightly", "jax")


def publish(run: "Run", test: Any, history: list[dict[str, Any]], parent: Path, verbose: int = 0) -> Path:
    """Measures and publishes the best weights of a run that has ended.

    Args:
        run: what was trained.
        test: the batches of the test split, as `data.batches` returns them.
        history: a dict for each epoch.
        parent: the folder of the versions, with the checkpoints of the run.
        verbose: 1 for a progress bar.

    Returns:
        The folder of the new version.
    """
    recipe = run.recipe
    flow = zoo.build(recipe, run.seed)  # again: in float32 and on one device, however it was trained
    checkpoints.restore_best(checkpoints.last_checkpoint(parent / checkpoints.WORK), flow)
    best = min(history, key=lambda epoch: epoch["val_bits_per_dim"])
    metrics = {
        "name": recipe.name,
        **evaluate(flow, test, recipe.evaluation, recipe.train.batch_size, verbose),
        "split": recipe.data.test,
        "data": data.version(recipe.data, run.path),
        "path": run.to_dict()["path"],
        "seed": run.seed,
        "limit": run.limit,
        "num_parameters": flow.count_params(),
        "best_epoch": best["epoch"],
        "validation_bits_per_dim": best["val_bits_per_dim"],
        "seconds": round(sum(epoch["seconds"] for epoch in history), 1),
        "device": device(),
        "versions": versions(),
        "history": history,
    }

    # Validation images chose the epoch, one of a few: that moves their scores far less than chance does.
    number = min(run.limit or NUM_CALIBRATION, NUM_CALIBRATION)
    validation = data.arrays(recipe.data, "validation", number, run.path)["image"]
    calibration = calibrate(flow, validation, batch_size=recipe.train.batch_size)

    def write(folder: Path) -> None:
        (folder / "recipe.toml").write_text(recipe.to_toml(), "utf-8")
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
        checkpoints.save_weights(flow, folder / "model.weights.h5")
        calibration.save(folder / FILE)
        save_png(folder / "samples.png", sample_images(flow), flow.num_values)
        if keras.backend.backend() == "tensorflow":
            from tfflows.export import export

            export(flow, folder, calibration)

    return store.publish(parent, write, store.next_version(parent))


def device() -> str:
    """Returns the names of the accelerators in use, or the number of cores."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    else:
        import jax

        names = [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    return ", ".join(names) or f"CPU, {os.cpu_count()} cores"


def emulates_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Returns whether training runs on a CPU without instructions for bfloat16, as far as Linux tells.

    There TensorFlow and XLA convert to float32 and back around every operation, which is slower than float32.

    Args:
        cpuinfo: the file in which Linux lists what the CPU can do.
    """
    if not device().startswith("CPU") or not cpuinfo.is_file():
        return False
    return not re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", cpuinfo.read_text())


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that results depend on, and Keras's backend."""
    found = {"python": platform.python_version(), "backend": keras.backend.backend()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
