"""What follows each epoch of training: validation, a checkpoint that holds everything, TensorBoard."""

import json
import math
import shutil
import time

import keras
import numpy as np
from keras import ops

from tfflows import _backend, _disk, store
from tfflows.visualize import image_grid, sample_images

SHARD = 12 * 2**20  # bytes


class DivergedError(ArithmeticError):
    """The loss or the validation bits/dim is not finite; the last good checkpoint is kept."""


def last_checkpoint(folder):
    """The newest checkpoint that `Checkpoints` left in a folder, or None."""
    epochs = store.versions(folder)
    return folder / str(epochs[-1]) if epochs else None


def read_progress(checkpoint):
    """(run, history): what the run was started with, and a dict for each epoch."""
    progress = json.loads((checkpoint / "progress.json").read_text())
    return progress["run"], progress["history"]


def restore(checkpoint, flow):
    """Set a compiled flow to the state of a checkpoint."""
    _load(checkpoint, "state", _variables(flow))


def restore_best(checkpoint, flow):
    """Set a flow to the weights with the best validation bits/dim until a checkpoint."""
    _load(checkpoint, "best", flow.variables)


def save_weights(flow, path):
    """Keras's `save_weights`, with an OSError where the disk is full: HDF5 would end the process."""
    _disk.require_room(path.parent, sum(4096 + 8 * math.prod(weight.shape) for weight in flow.weights))
    flow.save_weights(path)


def _variables(flow):
    """All that training changes: weights, step counter, states of dropout, the optimizer and its averages."""
    return [*flow.variables, *flow.optimizer.variables]


def _save(folder, name, variables):
    """Write variables to files `<name>-<number>.npz` of about SHARD bytes at most, large ones in pieces."""
    shards, room = [{}], SHARD
    for index, variable in enumerate(variables):
        flat = ops.convert_to_numpy(variable).ravel()
        step = SHARD // flat.itemsize
        for start in range(0, flat.size, step):
            piece = flat[start : start + step]
            if piece.nbytes > room:
                shards.append({})
                room = SHARD
            shards[-1][f"{index}.{start // step}"] = piece
            room -= piece.nbytes
    for number, shard in enumerate(shards):
        np.savez(folder / f"{name}-{number}.npz", **shard)


def _load(folder, name, variables):
    """Assign what `_save` wrote of as many variables."""
    pieces = {}
    for number in range(len(list(folder.glob(f"{name}-*.npz")))):
        with np.load(folder / f"{name}-{number}.npz", allow_pickle=False) as shard:
            for key in shard.files:  # in the order in which they were written
                pieces.setdefault(int(key.split(".")[0]), []).append(shard[key])
    for index, variable in enumerate(variables):
        variable.assign(np.concatenate(pieces[index]).reshape(variable.shape))


class Checkpoints(keras.callbacks.Callback):
    """Validates after each epoch and saves a checkpoint; stops a run that diverges.

    A checkpoint is a folder `<folder>/<epoch>/` of the store, so it is whole or not there; the one before is
    then deleted. It holds every variable (`state-*.npz`), the best weights until then (`best-*.npz`), `run` and
    the history (`progress.json`), in files small enough for a machine that sends them away between two runs.

    Validated and kept as best are the optimizer's moving averages, where it has them. They go to `averaged`,
    a flow of its own, so that the weights in training are never touched: Keras's SwapEMAWeights swaps in
    place, by sums that round.

    Args:
        folder: where the checkpoints go.
        run: what the run was started with, ready for JSON.
        history: a list of dicts, one for each epoch until now; this callback adds to it.
        averaged: a compiled `Flow` built as the one in training.
        validation: a data set.
    """

    async_safe = True  # on_train_batch_end only reads: Keras need not wait for it before the next step

    def __init__(self, folder, run, history, averaged, validation):
        super().__init__()
        self.folder, self.run, self.history = folder, run, history
        self.averaged, self.validation = averaged, validation

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.start = epoch + 1, time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self._require_finite("loss", logs["loss"])

    @_backend.apart()
    def on_epoch_end(self, epoch, logs=None):
        self.averaged.set_weights(self.model.get_weights())
        self.model.optimizer.finalize_variable_values(self.averaged.trainable_variables)
        # On JAX the assignment shares the optimizer's arrays, which `evaluate` would give away: copy them.
        self.averaged.set_weights(self.averaged.get_weights())
        value = self.averaged.evaluate(self.validation, verbose=0, return_dict=True)["bits_per_dim"]
        self._require_finite("validation bits/dim", value)
        logs["val_bits_per_dim"] = value  # for the callbacks that follow, the progress bar among them
        best = min((past["val_bits_per_dim"] for past in self.history), default=math.inf)
        seconds = round(time.monotonic() - self.start, 3)
        self.history.append({"epoch": self.epoch, **{k: float(v) for k, v in logs.items()}, "seconds": seconds})
        previous = last_checkpoint(self.folder)

        def write(folder):
            _save(folder, "state", _variables(self.model))
            progress = {"run": self.run, "history": self.history}
            (folder / "progress.json").write_text(json.dumps(progress, indent=1) + "\n")
            if value < best:
                _save(folder, "best", self.averaged.variables)
            else:
                for file in previous.glob("best-*.npz"):
                    shutil.copy(file, folder)

        store.publish(self.folder, write, self.epoch)
        for old in store.versions(self.folder)[:-1]:
            shutil.rmtree(self.folder / str(old))

    def _require_finite(self, name, value):
        if not math.isfinite(value):
            kept = last_checkpoint(self.folder) or "none"
            raise DivergedError(
                f"training diverged: the {name} of epoch {self.epoch} is {value}; lower learning_rate or "
                f"clip_norm in the recipe (last good checkpoint: {kept})"
            )


class TimeLimit(keras.callbacks.Callback):
    """Stops training after an epoch where one more would not end within `minutes` of now."""

    def __init__(self, minutes):
        super().__init__()
        self.end = time.monotonic() + 60 * minutes

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        now = time.monotonic()
        self.model.stop_training = now + (now - self.start) > self.end


class Summaries(keras.callbacks.Callback):
    """Writes the logs and a grid of samples of `flow` for TensorBoard after each epoch; needs TensorFlow."""

    def __init__(self, folder, flow):
        import tensorflow as tf

        super().__init__()
        self.summary, self.flow = tf.summary, flow
        self.writer = tf.summary.create_file_writer(str(folder))

    @_backend.apart()
    def on_epoch_end(self, epoch, logs=None):
        with self.writer.as_default(step=epoch + 1):
            for name, value in logs.items():
                self.summary.scalar(name, value)
            self.summary.image("samples", image_grid(sample_images(self.flow), self.flow.num_values)[None])
        self.writer.flush()

    def on_train_end(self, logs=None):
        self.writer.close()
