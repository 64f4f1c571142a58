"""Callbacks of the training command: the time limit, progress in a log file, and TensorBoard."""

import sys
import time
from pathlib import Path

import keras

from tfflows._backend.hosts import single_host
from tfflows.flow import Flow
from tfflows.plots import image_grid, sample_images


class TimeLimit(keras.callbacks.Callback):
    """Stops training after an epoch where one more would not end within `minutes` of now."""

    def __init__(self, minutes: float) -> None:
        super().__init__()
        self.end = time.monotonic() + 60 * minutes

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Notes the time."""
        self.start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Stops training where the next epoch would end too late."""
        now = time.monotonic()
        self.model.stop_training = now + (now - self.start) > self.end


class EpochLines(keras.callbacks.Callback):
    """Prints one line for each epoch, unless output goes to a terminal, where Keras's progress bar is used.

    In a log file the bar would be a line for each step.
    """

    def __init__(self) -> None:
        super().__init__()
        self.in_use = not sys.stdout.isatty()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Prints which epoch begins."""
        self.start = time.monotonic()
        if self.in_use:
            print(f"epoch {epoch + 1}/{self.params['epochs']}: ", end="", flush=True)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Prints the figures of the epoch."""
        if self.in_use:
            figures = ", ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items())
            print(f"{figures}, {time.monotonic() - self.start:.1f} s", flush=True)


class Summaries(keras.callbacks.Callback):
    """Writes the logs and a grid of samples of `flow` for TensorBoard after each epoch; needs TensorFlow."""

    def __init__(self, folder: Path, flow: Flow) -> None:
        import tensorflow as tf

        super().__init__()
        self.summary, self.flow = tf.summary, flow
        self.writer = tf.summary.create_file_writer(str(folder))

    @single_host()
    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Writes the logs and a grid of samples."""
        with self.writer.as_default(step=epoch + 1):
            for name, value in logs.items():
                self.summary.scalar(name, value)
            self.summary.image("samples", image_grid(sample_images(self.flow), self.flow.num_values)[None])
        self.writer.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        """Closes the file."""
        self.writer.close()
