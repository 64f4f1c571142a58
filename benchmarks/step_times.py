"""What the measured processes share: how long each training step takes."""

import time

import keras


class StepTimes(keras.callbacks.Callback):
    """Seconds of each step in `times`, with the wait for its loss: else an accelerator would still be at work."""

    def __init__(self):
        super().__init__()
        self.times = []

    def on_train_batch_begin(self, batch, logs=None):
        self.start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])
        self.times.append(time.perf_counter() - self.start)
