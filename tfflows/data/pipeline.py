"""Images for training and evaluation, as the integers they are.

A split is read once and held in memory as uint8 at the size that the model sees (CelebA at 64x64: 2 GB). The
training batch of each step is then a function of (seed, step): every epoch has its own permutation, so that
training can stop and go on anywhere, with the same batches on TensorFlow (tf.data) and on JAX, where
TensorFlow may be absent.
"""

import functools
from pathlib import Path

import keras
import numpy as np

from tfflows.data import digits
from tfflows.data.catalog import open_builder, read_tfds
from tfflows.data.files import SPLITS, read_folder, read_npz
from tfflows.data.prepare import check_labels, prepare_images
from tfflows.errors import DataError, InputError


def arrays(data, split, limit=None, path=None):
    """A split, in file order: {"image": uint8 [N, H, W, C] in [0, num_values), "label": int32 [N] if any}.

    data: a `recipe.Data`. split: "train", "validation" or "test", which data maps to splits of its data set.
    limit: take the first images, at most so many. path: a folder of images or an .npz in place of
    data.dataset (see `datasets.files`); a folder's images have 256 values whatever data.source_values says.

    Raises DataError if the images are not there, cannot be downloaded or do not fit the recipe.
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


def training_batches(data, batch_size, seed, first_epoch=0, limit=None, path=None, share=(0, 1)):
    """(batches, steps_per_epoch): endless shuffled batches for one `fit`, from the start of `first_epoch` on.

    Elements are those of `arrays`, [batch_size, ...]; the images that do not fill a batch are left out of an
    epoch, others in each. The order is a function of (seed, epoch), flips of (seed, epoch, image): a stream
    from first_epoch = k gives what the stream from 0 gives after k epochs. `batches` is a tf.data.Dataset on
    Keras's TensorFlow backend, a keras.utils.PyDataset on JAX. Raises as `arrays`.

    share: (i, n) for the i-th of n equal parts of every batch, as one host of many trains on.
    """
    if batch_size % share[1]:
        raise InputError(f"batch_size is {batch_size}, expected a multiple of the {share[1]} hosts that share it")
    stream = _Stream(arrays(data, "train", limit, path), batch_size, seed, data.flip, share)
    first_step = first_epoch * stream.steps_per_epoch
    if keras.backend.backend() == "tensorflow":
        return _tf_stream(stream, first_step), stream.steps_per_epoch
    return _PyBatches(lambda index: stream.batch(first_step + index), None), stream.steps_per_epoch


def batches(data, split, batch_size, limit=None, path=None):
    """The elements of `arrays` in order, in batches; the last may be smaller. Types and errors as above."""
    images = arrays(data, split, limit, path)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.data.Dataset.from_tensor_slices(images).batch(batch_size).prefetch(tf.data.AUTOTUNE)
    count = -(-len(images["image"]) // batch_size)

    def batch(index):
        chosen = slice(index * batch_size, (index + 1) * batch_size)
        return {key: array[chosen] for key, array in images.items()}

    return _PyBatches(batch, count)


def version(data, path=None):
    """The name and version of the data, as `mnist/3.0.1`, or the path in its place; reads no image."""
    if path is not None:
        return str(path)
    return digits.FULL_NAME if data.dataset == "digits" else open_builder(data.dataset).info.full_name


def _read(data, split, limit, path):
    """The raw blocks of a split from where the data are."""
    if path is None:
        name = getattr(data, split)
        if data.dataset == "digits" and name in digits.SPLITS:  # the builder's arrays, without TensorFlow or a disk
            return [{key: array[:limit] for key, array in digits.load_digits(name).items()}]
        return read_tfds(data.dataset, name, limit)
    if path.is_dir():
        return read_folder(path, split, data.shape[2], limit)
    return [read_npz(path, split, limit)]


class _Stream:
    """Training batches as a function of the step."""

    def __init__(self, images, batch_size, seed, flip, share):
        self.images, self.batch_size, self.seed, self.flip = images, batch_size, seed, flip
        part, parts = share
        self.part = slice(part * batch_size // parts, (part + 1) * batch_size // parts)
        self.number = len(images["image"])
        self.steps_per_epoch = self.number // batch_size
        if self.steps_per_epoch == 0:
            raise DataError(f"{self.number} training images do not fill a batch of {batch_size}: make it smaller")
        self.plan = functools.lru_cache(maxsize=2)(self._plan)  # two: workers may straddle the end of an epoch

    def _plan(self, epoch):
        """The order of the images [N] and which of them are mirrored [N]."""
        random = np.random.RandomState([self.seed, epoch])  # its numbers are frozen by NumPy, default_rng's are not
        return random.permutation(self.number), random.random_sample(self.number) < (0.5 if self.flip else 0)

    def batch(self, step):
        epoch, index = divmod(int(step), self.steps_per_epoch)
        order, mirrored = self.plan(epoch)
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size][self.part]
        batch = {key: array[chosen] for key, array in self.images.items()}
        if self.flip:
            flip = mirrored[chosen]
            batch["image"][flip] = batch["image"][flip, :, ::-1]
        return batch


def _tf_stream(stream, first_step):
    import tensorflow as tf

    spec = {
        key: tf.TensorSpec((stream.batch_size, *array.shape[1:]), array.dtype) for key, array in stream.images.items()
    }

    def read(step):
        outputs = [s.dtype for s in spec.values()]
        batch = tf.numpy_function(lambda step: list(stream.batch(step).values()), [step], outputs)
        return {key: tf.ensure_shape(value, spec[key].shape) for key, value in zip(spec, batch, strict=True)}

    steps = tf.data.Dataset.counter(first_step)
    return steps.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


class _PyBatches(keras.utils.PyDataset):
    """Batches by a function of their index; `count` None is without end."""

    def __init__(self, batch, count):
        super().__init__()
        self.batch, self.count = batch, count

    @property
    def num_batches(self):
        return self.count

    def __getitem__(self, index):
        return self.batch(index)
