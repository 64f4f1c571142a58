"""Splits of a data set as arrays, and as batches for training and evaluation.

Batches come from memory, or from disk where a split is too large for that (`split`): the training batch of each step
is a function of (seed, step) either way, every epoch having its own permutation. So training can stop and resume
anywhere, with the same batches on TensorFlow (tf.data) and on JAX, where TensorFlow may be absent.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tfflows.data import digits
from tfflows.data.catalog import TfdsImages, open_builder
from tfflows.data.files import SPLITS, FolderImages, paths_in, read_image
from tfflows.data.npz import NpzImages
from tfflows.data.prepare import check_labels, prepare_images
from tfflows.data.split import Arrays, HeldSplit, Source, StoredSplit, fits_in_memory
from tfflows.data.stream import OrderedBatches, ShuffledBatches
from tfflows.errors import DataError, InputError
from tfflows.zoo.recipe import DataConfig

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    Batches = tf.data.Dataset | keras.utils.PyDataset


def arrays(data: DataConfig, split: str, limit: int | None = None, path: str | Path | None = None) -> Arrays:
    """Returns a split, in file order.

    Args:
        data: the `[data]` table of a recipe.
        split: "train", "validation" or "test", which `data` maps to splits of its data set.
        limit: take the first images, at most so many; None for all.
        path: a folder of images or an .npz file in place of `data.dataset`, see `tfflows.data.files`; the images of a
            folder have 256 values whatever `data.source_values` says.

    Returns:
        {"image": uint8 [N, H, W, C] in [0, num_values)}, with "label" int32 [N] where the data set has labels.

    Raises:
        DataError: the images are missing, cannot be downloaded or do not fit the recipe.
        InputError: there is no such split, or the limit is below 1.

    Example:
        >>> from tfflows import data, zoo
        >>> test = data.arrays(zoo.recipe("realnvp_digits").data, "test")
        >>> test["image"].shape, test["label"].shape
        ((360, 8, 8, 1), (360,))
    """
    source, source_values = _open(data, split, limit, path)
    return _hold(source, data, source_values, limit, path or data.dataset)


def read_all(data: DataConfig, folder: str | Path) -> tuple[list[Path], np.ndarray]:
    """Returns all images of a folder and its subfolders, whatever their split.

    Args:
        data: the `[data]` table of a recipe, which says how they are cropped and resized.
        folder: of PNG and JPEG files.

    Returns:
        The paths, sorted, and uint8 [N, H, W, C] in [0, num_values).

    Raises:
        DataError: there are no images, or one cannot be read or is smaller than the crop.
    """
    folder = Path(folder).expanduser()
    paths = paths_in(folder)
    if not paths:
        raise DataError(f"{folder} has no images: give a folder of PNG or JPEG files")
    images = []
    for path in paths:
        image = read_image(path, data.shape[-1])[None]
        try:
            images.append(prepare_images(image, data, source_values=256))
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
    return paths, np.concatenate(images)


def training_batches(
    data: DataConfig,
    batch_size: int,
    seed: int,
    first_epoch: int = 0,
    limit: int | None = None,
    path: str | Path | None = None,
    share: tuple[int, int] = (0, 1),
) -> tuple["Batches", int]:
    """Returns endless shuffled batches for one `fit`, and the number of steps in an epoch.

    The order is a function of (seed, epoch), flips are a function of (seed, epoch, image): the batches from
    first_epoch = k are those that the batches from 0 give after k epochs. The images that do not fill a batch are left
    out of an epoch, different ones in each.

    Args:
        data: the `[data]` table of a recipe.
        batch_size: number of images in a step.
        seed: of the order and the flips.
        first_epoch: where to start.
        limit: as in `arrays`.
        path: as in `arrays`.
        share: (i, n) for the i-th of n equal parts of every batch, for training on n hosts.

    Returns:
        A tf.data.Dataset on Keras's TensorFlow backend, a keras.utils.PyDataset on JAX; its elements are those of
        `arrays`, [batch_size, ...]. And the number of steps in an epoch.

    Raises:
        DataError: as `arrays`, or the images do not fill one batch.
        InputError: the batch cannot be shared equally.
    """
    if batch_size % share[1]:
        raise InputError(f"batch_size is {batch_size}, expected a multiple of the {share[1]} hosts that share it")
    from tfflows.data.adapters import endless

    stream = ShuffledBatches(open_split(data, "train", limit, path), batch_size, seed, data.flip, share)
    return endless(stream, first_epoch * stream.steps_per_epoch), stream.steps_per_epoch


def batches(
    data: DataConfig, split: str, batch_size: int, limit: int | None = None, path: str | Path | None = None
) -> "Batches":
    """Returns the elements of `arrays` in order, in batches of which the last may be smaller.

    The type is that of `training_batches`; arguments and errors are those of `arrays`.
    """
    from tfflows.data.adapters import finite

    return finite(OrderedBatches(open_split(data, split, limit, path), batch_size))


def open_split(
    data: DataConfig, split: str, limit: int | None = None, path: str | Path | None = None
) -> HeldSplit | StoredSplit:
    """Returns a split whose images are taken by index: in memory where they fit, else on disk, see `data.split`.

    Arguments and errors are those of `arrays`; of images on disk the first is looked at now, the others later.
    """
    source, source_values = _open(data, split, limit, path)
    number = min(len(source), limit or len(source))
    if fits_in_memory(number * math.prod(data.shape)):
        return HeldSplit(_hold(source, data, source_values, limit, path or data.dataset))
    stored = StoredSplit(source, number, data, source_values, str(path or data.dataset))
    stored.take([0])
    return stored


def version(data: DataConfig, path: str | Path | None = None) -> str:
    """Returns the name and version of the data, as `mnist/3.0.1`, or the path in its place, without reading images."""
    if path is not None:
        return str(path)
    return digits.FULL_NAME if data.dataset == "digits" else open_builder(data.dataset).info.full_name


def _open(data: DataConfig, split: str, limit: int | None, path: str | Path | None) -> tuple[Source, int]:
    """Returns the images of a split before crop and resize, and their number of grey values."""
    if split not in SPLITS:
        raise InputError(f"split is {split!r}, expected one of {', '.join(SPLITS)}")
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}, expected at least 1 image")
    source, source_values = _source(data, split, path)
    if not len(source):
        raise DataError(f"the split {split!r} of {path or data.dataset} has no images: add some")
    return source, source_values


def _source(data: DataConfig, split: str, path: str | Path | None) -> tuple[Source, int]:
    if path is None:
        name = getattr(data, split)
        if data.dataset == "digits" and name in digits.SPLITS:  # those of the tfds builder, without TensorFlow
            return digits.DigitsImages(name), data.source_values
        return TfdsImages(data.dataset, name), data.source_values
    path = Path(path).expanduser()
    if path.is_dir():
        return FolderImages(path, split, data.shape[2]), 256
    return NpzImages(path, split), data.source_values


def _hold(source: Source, data: DataConfig, source_values: int, limit: int | None, name: str | Path) -> Arrays:
    """Returns the first images of a source, prepared."""
    blocks = [{**block, "image": prepare_images(block["image"], data, source_values)} for block in source.blocks(limit)]
    images = {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}
    if "label" in images:
        images["label"] = images["label"].astype(np.int32)
    if data.num_classes is not None:
        check_labels(images.get("label"), data.num_classes, name)
    return images
