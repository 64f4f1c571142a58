"""A split of a data set, from which images are taken by their index: held in memory, or left on disk.

A split of up to 4 GB as an array, at the size that the model sees, is held; a larger one is read and prepared as its
images are asked for. The environment variable TFFLOWS_IN_MEMORY_GB sets another limit. The images are the same.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tfflows.data.prepare import check_labels, prepare_images
from tfflows.errors import InputError
from tfflows.zoo.recipe import DataConfig

Arrays = dict[str, np.ndarray]
LIMIT = "TFFLOWS_IN_MEMORY_GB"


def fits_in_memory(size: int) -> bool:
    """Returns whether arrays of so many bytes are held in memory."""
    text = os.environ.get(LIMIT, "4")
    try:
        limit = float(text)
    except ValueError:
        raise InputError(f"{LIMIT} is {text!r}, expected a number of gigabytes, as 4: correct it") from None
    return size <= limit * 1e9


class Source(Protocol):
    """Images as they are stored, in the order of the data set: a random-access source of Grain's, read in order too."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Arrays:
        """Returns {"image": [h, w, C]}, with "label" [] where there are labels."""

    def blocks(self, limit: int | None = None) -> Iterator[Arrays]:
        """Yields the first images, at most `limit`, in blocks [n, h, w, C]."""


@dataclass(frozen=True)
class HeldSplit:
    """A split in memory.

    Args:
        images: what `pipeline.arrays` returns.
    """

    images: Arrays

    def __len__(self) -> int:
        return len(self.images["image"])

    def take(self, rows: Sequence[int] | np.ndarray | slice) -> Arrays:
        """Returns the images of these indices: {"image": uint8 [n, H, W, C]}, with "label" int32 [n]."""
        return {key: array[rows] for key, array in self.images.items()}


@dataclass(frozen=True)
class StoredSplit:
    """A split on disk; worker processes get a copy.

    Args:
        source: of the images.
        number: of images, the first of the source.
        data: of the recipe.
        source_values: the number of grey values of the source's images.
        name: of the source, for messages.
    """

    source: Source
    number: int
    data: DataConfig
    source_values: int
    name: str

    def __len__(self) -> int:
        return self.number

    def take(self, rows: Sequence[int] | np.ndarray | slice) -> Arrays:
        """Returns the same as `HeldSplit.take`; raises DataError where an image does not fit the recipe."""
        rows = range(self.number)[rows] if isinstance(rows, slice) else rows
        found = [self.source[int(row)] for row in rows]
        images = [prepare_images(each["image"][None], self.data, self.source_values) for each in found]
        taken = {"image": np.concatenate(images)}
        if "label" in found[0]:
            taken["label"] = np.asarray([each["label"] for each in found], np.int32)
        if self.data.num_classes is not None:
            check_labels(taken.get("label"), self.data.num_classes, self.name)
        return taken


Split = HeldSplit | StoredSplit
