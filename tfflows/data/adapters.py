"""Batches as Keras takes them: a tf.data.Dataset on its TensorFlow backend, a PyDataset on JAX."""

import atexit
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tfflows.data.split import Arrays, HeldSplit, StoredSplit
from tfflows.data.stream import ENDLESS, OrderedBatches, ShuffledBatches, ahead

if TYPE_CHECKING:
    import tensorflow as tf

READ_AHEAD = 4  # batches


def endless(stream: ShuffledBatches, first_step: int) -> Any:
    """Returns the training batches from a step on."""
    held = isinstance(stream.split, HeldSplit)
    if keras.backend.backend() == "jax":
        if held:
            return _PyBatches(lambda index: stream(first_step + index), None)
        return _PyBatchesAhead(stream, first_step, None)
    import tensorflow as tf

    steps = tf.data.Dataset.counter(first_step)
    if not held:
        return _tf_batches(_PyBatchesAhead(stream, 0, None).__getitem__, steps, stream.split, stream.batch_size)
    batches = _tf_batches(
        stream, steps, stream.split, stream.batch_size, num_parallel_calls=READ_AHEAD, deterministic=True
    )
    return batches.prefetch(READ_AHEAD)


def finite(batches: OrderedBatches) -> Any:
    """Returns all batches of a split in order."""
    held = isinstance(batches.split, HeldSplit)
    if keras.backend.backend() == "jax":
        return _PyBatches(batches, len(batches)) if held else _PyBatchesAhead(batches, 0, len(batches))
    import tensorflow as tf

    if held:
        images = tf.data.Dataset.from_tensor_slices(batches.split.images)
        return untuned(images.batch(batches.batch_size).prefetch(READ_AHEAD))
    reader = _PyBatchesAhead(batches, 0, len(batches))
    return _tf_batches(reader.__getitem__, tf.data.Dataset.range(len(batches)), batches.split, None)


def _tf_batches(
    batch: Callable[[int], Arrays],
    indices: "tf.data.Dataset",
    split: HeldSplit | StoredSplit,
    batch_size: int | None,
    **options: Any,
) -> "tf.data.Dataset":
    """Returns the batches of indices; `options` are those of `tf.data.Dataset.map`."""
    import tensorflow as tf

    spec = _tf_spec(split.images if isinstance(split, HeldSplit) else split.take([0]), batch_size)
    called = _CALLS.of(lambda index: list(batch(int(index)).values()))

    def read(index: "tf.Tensor") -> dict[str, "tf.Tensor"]:
        values = tf.numpy_function(called, [index], [s.dtype for s in spec.values()])
        return {key: tf.ensure_shape(value, spec[key].shape) for key, value in zip(spec, values, strict=True)}

    return untuned(indices.map(read, **options))


def untuned(dataset: "tf.data.Dataset") -> "tf.data.Dataset":
    """Returns the data set without tf.data's tuner of buffers and threads.

    The tuner's thread sleeps for as long as the data set has been read, up to a minute, and TensorFlow 2.21, when it
    releases an iterator, now and then fails to wake it: `fit` would hang at its end for as long again as it took.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def _tf_spec(images: Arrays, batch_size: int | None) -> dict[str, "tf.TensorSpec"]:
    import tensorflow as tf

    return {key: tf.TensorSpec((batch_size, *array.shape[1:]), array.dtype) for key, array in images.items()}


class _Calls:
    """Calls of Python by tf.data's threads, which end before Python does.

    A data set reads ahead for as long as it is referred to. Python, when it ends, stops threads that wait for it, and
    TensorFlow waits for those threads: a script that ends with a data set in a variable would hang.
    """

    def __init__(self) -> None:
        self.lock, self.running, self.begun, self.closed = threading.Lock(), 0, 0, False
        self.closes_at_exit = False

    def of(self, function: Callable[[Any], list[np.ndarray]]) -> Callable[[Any], list[np.ndarray]]:
        """Returns the function, which from `close` on gives its last result again, to nobody."""
        if not self.closes_at_exit:
            atexit.register(self.close)
            self.closes_at_exit = True
        last: list[np.ndarray] = []

        def called(argument: Any) -> list[np.ndarray]:
            nonlocal last
            with self.lock:
                self.running, self.begun = self.running + 1, self.begun + 1
            try:
                if not (self.closed and last):
                    last = function(argument)
                return last
            finally:
                with self.lock:
                    self.running -= 1

        return called

    def close(self) -> None:
        """Waits until the buffers of all data sets are full, so that no thread calls Python any more; at most 10 s."""
        self.closed, before, end = True, -1, time.monotonic() + 10
        while (self.running or self.begun != before) and time.monotonic() < end:
            before = self.begun
            time.sleep(0.02)


_CALLS = _Calls()


class _PyBatches(keras.utils.PyDataset):
    """Batches given by a function of their index; with `count` None there is no last one."""

    def __init__(self, batch: Callable[[int], Arrays], count: int | None) -> None:
        super().__init__()
        self.batch, self.count = batch, count

    @property
    def num_batches(self) -> int | None:
        """The number of batches, as Keras asks for it."""
        return self.count

    def __getitem__(self, index: int) -> Arrays:
        return self.batch(index)


class _PyBatchesAhead(_PyBatches):
    """Batches of images on disk, read ahead for as long as their indices follow one another.

    There are two readers at most, with worker processes of their own: `fit` goes on reading where it was after the
    statistics of batch normalisation were computed from the first batches.
    """

    def __init__(self, batch: Callable[[int], Arrays], start: int, count: int | None) -> None:
        super().__init__(batch, count)
        self.start = start
        self.lock = threading.Lock()  # two iterators of a tf.data.Dataset may read at the same time
        self.readers: dict[int, Iterator[Arrays]] = {}  # by the index that each gives next, the latest used last

    def __getitem__(self, index: int) -> Arrays:
        with self.lock:
            reader = self.readers.pop(index, None)
            if reader is None:
                while len(self.readers) > 1:
                    del self.readers[next(iter(self.readers))]
                stop = ENDLESS if self.count is None else self.start + self.count
                reader = ahead(self.batch, self.start + index, stop)
            batch = next(reader)
            self.readers[index + 1] = reader
            return batch
