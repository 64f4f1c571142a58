"""Splits of a data set as arrays, and as batches for training and evaluation.

A split is read once and held in memory as uint8 at the size that the model sees (CelebA at 64x64: 2 GB). The
training batch of each step is then a function of (seed, step): every epoch has its own permutation, so that
training can stop and resume anywhere, with the same batches on TensorFlow (tf.data) and on JAX, where
TensorFlow may be absent.
"""

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from tfflows.data import digits
from tfflows.data.catalog import open_builder, read_tfds
from tfflows.data.files import SPLITS, paths_in, read_folder, read_image, read_npz
from tfflows.data.prepare import check_labels, prepare_images
from tfflows.errors import DataError, InputError
from tfflows.zoo.recipe import DataConfig

if TYPE_CHECKING:
    import tensorflow as tf

    Batches = tf.data.Dataset | keras.utils.PyDataset

Arrays = dict[str, np.ndarray]


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
    if split not in SPLITS:
        raise InputError(f"split is {split!r}, expected one of {', '.join(SPLITS)}")
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}, expected at least 1 image")
    path = Path(path).expanduser() if path is not None else None
    source_values = 256 if path and path.is_dir() else data.source_values
    blocks = [
        {**block, "image": prepare_images(block["image"], data, source_values)}
        for block in _read(data, split, limit, path)
    ]
    if not sum(len(block["image"]) for block in blocks):
        raise DataError(f"the split {split!r} of {path or data.dataset} has no images: add some")
    images = {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}
    if "label" in images:
        images["label"] = images["label"].astype(np.int32)
    if data.num_classes is not None:
        check_labels(images.get("label"), data.num_classes, path or data.dataset)
    return images


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
    images = [prepare_images(read_image(path, data.shape[-1])[None], data, source_values=256) for path in paths]
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
    stream = _Stream(arrays(data, "train", limit, path), batch_size, seed, data.flip, share)
    first_step = first_epoch * stream.steps_per_epoch
    if keras.backend.backend() == "tensorflow":
        return _tf_stream(stream, first_step), stream.steps_per_epoch
    return _PyBatches(lambda index: stream.batch(first_step + index), None), stream.steps_per_epoch


def batches(
    data: DataConfig, split: str, batch_size: int, limit: int | None = None, path: str | Path | None = None
) -> "Batches":
    """Returns the elements of `arrays` in order, in batches of which the last may be smaller.

    The type is that of `training_batches`; arguments and errors are those of `arrays`.
    """
    images = arrays(data, split, limit, path)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.data.Dataset.from_tensor_slices(images).batch(batch_size).prefetch(tf.data.AUTOTUNE)
    count = -(-len(images["image"]) // batch_size)

    def batch(index: int) -> Arrays:
        chosen = slice(index * batch_size, (index + 1) * batch_size)
        return {key: array[chosen] for key, array in images.items()}

    return _PyBatches(batch, count)


def version(data: DataConfig, path: str | Path | None = None) -> str:
    """Returns the name and version of the data, as `mnist/3.0.1`, or the path in its place, without reading images."""
    if path is not None:
        return str(path)
    return digits.FULL_NAME if data.dataset == "digits" else open_builder(data.dataset).info.full_name


def _read(data: DataConfig, split: str, limit: int | None, path: Path | None) -> Iterable[Arrays]:
    """Returns a split in blocks, before crop and resize."""
    if path is None:
        name = getattr(data, split)
        if data.dataset == "digits" and name in digits.SPLITS:  # the arrays of the tfds builder, without TensorFlow
            return [{key: array[:limit] for key, array in digits.load_digits(name).items()}]
        return read_tfds(data.dataset, name, limit)
    if path.is_dir():
        return read_folder(path, split, data.shape[2], limit)
    return [read_npz(path, split, limit)]


class _Stream:
    """Training batches as a function of the step."""

    def __init__(self, images: Arrays, batch_size: int, seed: int, flip: bool, share: tuple[int, int]) -> None:
        self.images, self.batch_size, self.seed, self.flip = images, batch_size, seed, flip
        part, parts = share
        self.part = slice(part * batch_size // parts, (part + 1) * batch_size // parts)
        self.number = len(images["image"])
        self.steps_per_epoch = self.number // batch_size
        if self.steps_per_epoch == 0:
            raise DataError(
                f"{self.number} training images do not fill a batch of {batch_size}: make batch_size (--batch-size) "
                "smaller"
            )
        self.plan = functools.lru_cache(maxsize=2)(self._plan)  # two: workers may straddle the end of an epoch

    def _plan(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the order of the images [N] and which of them are mirrored [N]."""
        random = np.random.RandomState([self.seed, epoch])  # its numbers are frozen by NumPy, default_rng's are not
        return random.permutation(self.number), random.random_sample(self.number) < (0.5 if self.flip else 0)

    def batch(self, step: int) -> Arrays:
        epoch, index = divmod(int(step), self.steps_per_epoch)
        order, mirrored = self.plan(epoch)
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size][self.part]
        batch = {key: array[chosen] for key, array in self.images.items()}
        if self.flip:
            flip = mirrored[chosen]
            batch["image"][flip] = batch["image"][flip, :, ::-1]
        return batch


def _tf_stream(stream: _Stream, first_step: int) -> "tf.data.Dataset":
    import tensorflow as tf

    spec = {
        key: tf.TensorSpec((stream.batch_size, *array.shape[1:]), array.dtype) for key, array in stream.images.items()
    }

    def read(step: "tf.Tensor") -> dict[str, "tf.Tensor"]:
        outputs = [s.dtype for s in spec.values()]
        batch = tf.numpy_function(lambda step: list(stream.batch(step).values()), [step], outputs)
        return {key: tf.ensure_shape(value, spec[key].shape) for key, value in zip(spec, batch, strict=True)}

    steps = tf.data.Dataset.counter(first_step)
    return steps.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


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
