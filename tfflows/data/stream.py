"""Batches as functions of their index, computed here or, where images come from disk, in worker processes by Grain."""

import atexit
import contextlib
import functools
import multiprocessing
import os
import threading
import types
import weakref
from collections.abc import Callable, Iterator

import numpy as np

from tfflows.data.split import Arrays, Split
from tfflows.errors import DataError, UnsupportedError

ENDLESS = 2**62
LARGEST_POOL = 16  # worker processes

_GENERATORS: "weakref.WeakSet[Iterator[Arrays]]" = weakref.WeakSet()  # of `ahead`


class ShuffledBatches:
    """Training batches: every epoch has its own order, and leaves out images that do not fill a batch.

    Args:
        split: of the training images.
        batch_size: images in a batch.
        seed: of the order and the flips.
        flip: whether images are mirrored at random.
        share: (i, n) for the i-th of n equal parts of every batch, which alone is read.

    Raises:
        DataError: the images do not fill one batch.
    """

    def __init__(self, split: Split, batch_size: int, seed: int, flip: bool, share: tuple[int, int] = (0, 1)) -> None:
        self.split, self.batch_size, self.seed, self.flip = split, batch_size, seed, flip
        part, parts = share
        self.part = slice(part * batch_size // parts, (part + 1) * batch_size // parts)
        self.steps_per_epoch = len(split) // batch_size
        if self.steps_per_epoch == 0:
            raise DataError(
                f"{len(split)} training images do not fill a batch of {batch_size}: make batch_size (--batch-size) "
                "smaller"
            )

    def __call__(self, step: int) -> Arrays:
        """Returns the batch of a step, counted from 0 over all epochs."""
        epoch, index = divmod(int(step), self.steps_per_epoch)
        order, mirrored = _plan(self.seed, epoch, len(self.split), self.flip)
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size][self.part]
        batch = self.split.take(chosen)
        if self.flip:
            flip = mirrored[chosen]
            batch["image"][flip] = batch["image"][flip, :, ::-1]
        return batch


@functools.lru_cache(maxsize=2)  # two: threads may straddle the end of an epoch
def _plan(seed: int, epoch: int, number: int, flip: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns the order of the images [N] and which of them are mirrored [N]."""
    random = np.random.RandomState([seed, epoch])  # its numbers are frozen by NumPy, default_rng's are not
    return random.permutation(number), random.random_sample(number) < (0.5 if flip else 0)


class OrderedBatches:
    """All images of a split in order, in batches of which the last may be smaller.

    Args:
        split: of the images.
        batch_size: images in a batch.
    """

    def __init__(self, split: Split, batch_size: int) -> None:
        self.split, self.batch_size = split, batch_size

    def __len__(self) -> int:
        return -(-len(self.split) // self.batch_size)

    def __call__(self, index: int) -> Arrays:
        """Returns the batch of an index."""
        start = index * self.batch_size
        return self.split.take(slice(start, min(start + self.batch_size, len(self.split))))


@atexit.register
def _close() -> None:
    """Ends the worker processes before Python takes down what they share."""
    for generator in list(_GENERATORS):
        with contextlib.suppress(ValueError):  # it is running, in a thread of tf.data's
            generator.close()


def ahead(batch: Callable[[int], Arrays], start: int, stop: int = ENDLESS) -> Iterator[Arrays]:
    """Returns an iterator of batch(start) to batch(stop - 1), where worker processes compute what comes next.

    The first one is computed here: to look at it alone, as `Flow.adapt` does, starts no processes.

    Args:
        batch: of an index; the processes get a copy of it.
        start: the first index.
        stop: one after the last index.

    Raises:
        UnsupportedError: Grain is not installed, or the main program starts training again in each of the processes.
    """
    generator = _ahead(batch, start, stop)
    _GENERATORS.add(generator)
    return generator


def _ahead(batch: Callable[[int], Arrays], start: int, stop: int) -> Iterator[Arrays]:
    if multiprocessing.current_process().name.startswith("grain-"):
        raise UnsupportedError(
            "a program whose images are read by worker processes is imported by each of them: put what it does under "
            "`if __name__ == '__main__':`"
        )
    yield batch(start)
    if start + 1 >= stop:
        return
    grain = _grain()
    indices = grain.MapDataset.range(start + 1, stop)
    # A worker computes one batch at a time and keeps one more: without these numbers it would hold 500.
    batches = indices.map(batch).to_iter_dataset(grain.ReadOptions(num_threads=0, prefetch_buffer_size=0))
    # By a pipe: shared memory is smaller than some batches in a container, and Grain leaves some behind when it closes.
    by_pipe = grain.experimental.DatasetOptions(min_shm_size=ENDLESS)
    batches = grain.experimental.WithOptionsIterDataset(batches, by_pipe)
    options = grain.MultiprocessingOptions(min(num_workers(), stop - start - 1), per_worker_buffer_size=1)
    reader = iter(batches.mp_prefetch(options, worker_init_fn=_end_with_parent))
    try:
        yield from reader
    finally:
        reader.close()


def _grain() -> types.ModuleType:
    try:
        from absl import flags, logging

        if not flags.FLAGS.is_parsed():  # Grain asks for its flags, which only a program of absl's own parses
            flags.FLAGS.mark_as_parsed()
        before = logging.get_verbosity()
        logging.set_verbosity(logging.ERROR)  # it warns where JAX, whose profiler it can use, is not installed
        import grain
    except ImportError:
        raise UnsupportedError(
            "images that are too many for memory are read by Grain, which is not installed: pip install grain"
        ) from None
    logging.set_verbosity(before)
    return grain


def num_workers() -> int:
    """Returns how many processes read images: one for each core that this process may use, up to 16."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, LARGEST_POOL)


def _end_with_parent(index: int, count: int) -> None:
    """Ends this worker process when its parent is killed, which Grain's processes would outlive."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
