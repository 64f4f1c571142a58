"""From the pixels of a data set to those that the model sees: crop, resize, fewer grey values."""

import numpy as np
from PIL import Image

from tfflows.errors import DataError
from tfflows.zoo.recipe import DataConfig


def prepare_images(images: np.ndarray, data: DataConfig, source_values: int) -> np.ndarray:
    """Returns images as the model sees them.

    Args:
        images: integers [n, h, w, C] in [0, source_values).
        data: of the recipe; its crop, shape and num_values are used.
        source_values: the number of grey values of `images`.

    Returns:
        uint8 [n, *data.shape] in [0, data.num_values).

    Raises:
        DataError: the images have another type, range or number of channels, or are smaller than the crop.
    """
    height, width, channels = data.shape
    size = tuple(images.shape[1:3])
    if not np.issubdtype(images.dtype, np.integer):
        raise DataError(f"the images are {images.dtype}, expected integers: give the pixels as uint8")
    if images.ndim != 4 or images.shape[3] != channels:
        found = list(images.shape[1:])
        raise DataError(f"the images are {found}, the recipe wants {channels} channels: convert them")
    if images.size and not 0 <= images.min() <= images.max() < source_values:
        found = f"{images.min()} to {images.max()}"
        raise DataError(f"the pixels are {found}, expected 0 to {source_values - 1}: set data.source_values")
    images = images.astype(np.uint8)
    if data.crop is not None:
        margins = [side - crop for side, crop in zip(size, data.crop, strict=True)]
        if min(margins) < 0:
            raise DataError(f"the images are {size}, smaller than the crop {data.crop}: make data.crop smaller")
        top, left = (margin // 2 for margin in margins)
        images = images[:, top : top + data.crop[0], left : left + data.crop[1]]
    if images.shape[1:3] != (height, width):
        images = np.stack([_resize(image, width, height) for image in images])
    if data.num_values != source_values:
        images = (images.astype(np.uint16) * data.num_values // source_values).astype(np.uint8)
    return images


def _resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resizes bilinearly; Pillow's filter grows wider where it reduces, which avoids aliasing."""
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    resized = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized).reshape(height, width, image.shape[2])


def check_labels(labels: np.ndarray | None, num_classes: int, source: object) -> None:
    """Raises DataError unless there are labels and all lie in [0, num_classes); `source` is named in the message."""
    if labels is None:
        what = f"{source} has no labels in numbers and the recipe has data.num_classes"
        raise DataError(f"{what}: remove it or add labels, from 0 to {num_classes - 1}")
    if not 0 <= labels.min() <= labels.max() < num_classes:
        found = f"{labels.min()} to {labels.max()}"
        raise DataError(f"the labels of {source} are {found}, expected 0 to {num_classes - 1}: correct one")
