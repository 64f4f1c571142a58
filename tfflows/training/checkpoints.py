"""Checkpoints: everything that training changes, after each epoch, so that a stopped run resumes exactly."""

import json
import math
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from tfflows._backend.hosts import single_host
from tfflows.errors import DivergedError, explained_os_errors
from tfflows.flow import Flow, statistics
from tfflows.zoo import store

WORK = ".training"  # the folder of a run's checkpoints, beside the versions


def last_checkpoint(folder: Path) -> Path | None:
    """Returns the newest checkpoint that `Checkpoints` left in a folder, or None."""
    epochs = store.versions(folder)
    return folder / str(epochs[-1]) if epochs else None


def read_progress(checkpoint: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns (run, history): what the run was started with, and a dict for each epoch."""
    progress = json.loads((checkpoint / "progress.json").read_text())
    return progress["run"], progress["history"]


def restore(checkpoint: Path, flow: Flow) -> None:
    """Sets a compiled flow to the state of a checkpoint."""
    _load(checkpoint / "state.npz", _variables(flow))


def restore_best(checkpoint: Path, flow: Flow) -> None:
    """Sets a flow to the weights with the best validation bits/dim until a checkpoint."""
    _load(checkpoint / "best.npz", flow.variables)


def save_weights(flow: Flow, path: Path) -> None:
    """Keras's `save_weights`, with an OSError where the disk is full: HDF5 would end the process."""
    _require_room(path.parent, sum(4096 + 8 * math.prod(weight.shape) for weight in flow.weights))
    flow.save_weights(path)


def _require_room(folder: Path, size: int) -> None:
    """Raises OSError unless a file of `size` bytes fits into `folder` now."""
    with explained_os_errors(folder), tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)


def _variables(flow: Flow) -> list[keras.Variable]:
    """Returns all that training changes: weights, step counter, states of dropout, the optimizer and its averages."""
    return [*flow.variables, *flow.optimizer.variables]


def _save(path: Path, variables: list[keras.Variable]) -> None:
    """Writes the values of variables to an .npz file, in their order."""
    np.savez(path, *map(ops.convert_to_numpy, variables))


def _load(path: Path, variables: list[keras.Variable]) -> None:
    """Assigns what `_save` wrote to as many variables."""
    with np.load(path, allow_pickle=False) as values:
        for name, variable in zip(values.files, variables, strict=True):
            variable.assign(values[name])


class Checkpoints(keras.callbacks.Callback):
    """Validates after each epoch and saves a checkpoint; stops a run that diverges.

    A checkpoint is a folder `<folder>/<epoch>/` of the store, so it is whole or not there; the one before is
    then deleted. It holds every variable (`state.npz`), the best weights until then (`best.npz`), `run` and
    the history (`progress.json`).

    Validated and kept as best are the optimizer's moving averages, where it has them, with the statistics of batch
    normalisation that belong to them. They go to `averaged`, a flow of its own, so that the weights in training are
    never touched: Keras's SwapEMAWeights swaps in place, by sums that round.

    Args:
        folder: where the checkpoints go.
        run: what the run was started with, ready for JSON.
        history: a list of dicts, one for each epoch until now; this callback adds to it.
        averaged: a compiled `Flow` built as the one in training.
        validation: a data set.
        images: training images in memory, for the statistics of batch normalisation; None where there is none.
    """

    async_safe = True  # on_train_batch_end only reads: Keras need not wait for it before the next step

    def __init__(
        self,
        folder: Path,
        run: dict[str, Any],
        history: list[dict[str, Any]],
        averaged: Flow,
        validation: Any,
        images: Any,
    ) -> None:
        super().__init__()
        self.images = images
        self.folder, self.run, self.history = folder, run, history
        self.averaged, self.validation = averaged, validation

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Notes the epoch and the time."""
        self.epoch, self.start = epoch + 1, time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Raises DivergedError where the loss is not finite."""
        self._require_finite("loss", logs["loss"])

    @single_host()
    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Validates and saves; raises DivergedError where the validation bits/dim are not finite."""
        self.averaged.set_weights(self.model.get_weights())
        self.model.optimizer.finalize_variable_values(self.averaged.trainable_variables)
        # On JAX the assignment shares the optimizer's arrays, which `evaluate` would give away: copy them.
        self.averaged.set_weights(self.averaged.get_weights())
        value = self._validate()
        self._require_finite("validation bits/dim", value)
        logs["val_bits_per_dim"] = value  # for the callbacks that follow, the progress bar among them
        best = min((past["val_bits_per_dim"] for past in self.history), default=math.inf)
        seconds = round(time.monotonic() - self.start, 3)
        self.history.append({"epoch": self.epoch, **{k: float(v) for k, v in logs.items()}, "seconds": seconds})
        previous = last_checkpoint(self.folder)

        def write(folder: Path) -> None:
            _save(folder / "state.npz", _variables(self.model))
            progress = {"run": self.run, "history": self.history}
            (folder / "progress.json").write_text(json.dumps(progress, indent=1) + "\n")
            if value < best:
                _save(folder / "best.npz", self.averaged.variables)
            else:
                shutil.copy(previous / "best.npz", folder)

        store.publish(self.folder, write, self.epoch)
        for old in store.versions(self.folder)[:-1]:
            shutil.rmtree(self.folder / str(old))

    def _validate(self) -> float:
        """Returns the validation bits/dim of `averaged`, with the statistics of batch normalisation that are better.

        These are as a rule those that are recomputed for the averaged weights. Of a model that overfits, the running
        averages can be the better ones: its training images lie closer to the mode of the base than others do.
        """

        def bits() -> float:
            return self.averaged.evaluate(self.validation, verbose=0, return_dict=True)["bits_per_dim"]

        value = bits()
        if self.images is None:
            return value
        running = self.averaged.get_weights()
        statistics.update_alone(self.averaged, self.images)
        recomputed = bits()
        if recomputed <= value:
            return recomputed
        self.averaged.set_weights(running)
        return value

    def _require_finite(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            kept = last_checkpoint(self.folder) or "none"
            raise DivergedError(
                f"training diverged: the {name} of epoch {self.epoch} is {value}; lower learning_rate or "
                f"clip_norm in the recipe (last good checkpoint: {kept})"
            )
