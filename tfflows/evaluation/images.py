"""Images as PNG files."""

import io
import math
import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from tfflows.errors import InputError, UnsupportedError, explained_os_errors
from tfflows.flow import Flow

MARGIN = 2  # pixels between the images of a grid
SMALLEST_SIDE = 32  # smaller images are enlarged by a whole factor, so that 8x8 digits are visible


def image_grid(images: ArrayLike, num_values: int = 256, columns: int | None = None) -> np.ndarray:
    """Arranges images in one picture, row by row.

    Args:
        images: integers [N, H, W, C] in `[0, num_values)`, C = 1 (grey) or 3 (RGB), N >= 1.
        num_values: the number of values of a channel; the highest is shown as white.
        columns: images in a row; by default the picture is about square.

    Returns:
        uint8 [height, width, C] of the picture.

    Raises:
        InputError: the array is not of images.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or len(images) == 0:
        raise InputError(f"expected images [N, H, W, 1 or 3] with N >= 1, got an array of shape {images.shape}")
    grey = to_uint8(images, num_values)
    factor = math.ceil(SMALLEST_SIDE / min(images.shape[1:3]))
    tiles = grey.repeat(factor, axis=1).repeat(factor, axis=2)
    height, width, channels = tiles.shape[1:]
    columns = columns or math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    size = (rows * (height + MARGIN) + MARGIN, columns * (width + MARGIN) + MARGIN)
    grid = np.zeros((*size, channels), np.uint8)
    for index, tile in enumerate(tiles):
        top = MARGIN + (index // columns) * (height + MARGIN)
        left = MARGIN + (index % columns) * (width + MARGIN)
        grid[top : top + height, left : left + width] = tile
    return grid


def to_uint8(images: np.ndarray, num_values: int) -> np.ndarray:
    """Returns integer images with the highest of `num_values` as 255."""
    return np.clip(np.rint(images * (255.0 / (num_values - 1))), 0, 255).astype(np.uint8)


def tile(image: np.ndarray, num_values: int = 256) -> bytes:
    """Returns an integer image [H, W, 1 or 3] as the bytes of a PNG file."""
    file = io.BytesIO()
    pixels = to_uint8(image, num_values)
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(file, format="PNG")
    return file.getvalue()


def save_png(path: str | Path, images: ArrayLike, num_values: int = 256, columns: int | None = None) -> None:
    """Writes a grid of images as a PNG file, complete or not at all.

    Args:
        path: of the file; an existing file is replaced.
        images: as for `image_grid`, like the arguments that follow.
        num_values: the number of values of a channel.
        columns: images in a row.

    Raises:
        InputError: the array is not of images.
        OSError: the file cannot be written.
    """
    path = Path(path)
    grid = image_grid(images, num_values, columns)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    if path.exists() and not path.is_file():
        raise OSError(f"cannot write a picture to {path}, which is no regular file: choose another path")
    with explained_os_errors(path):
        try:
            Image.fromarray(grid.squeeze(-1) if grid.shape[-1] == 1 else grid).save(partial, format="PNG")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def sample_images(
    flow: Flow, num: int = 64, temperature: float = 1.0, seed: int = 0, label: int | None = None
) -> np.ndarray:
    """Returns samples [num, H, W, C]; of a class-conditional flow all of class `label`, or the classes in turn."""
    if flow.num_classes is not None and label is None:
        label = np.arange(num) % flow.num_classes
    return flow.sample(num, temperature=temperature, seed=seed, condition=label)


def show(images: ArrayLike, num_values: int = 256, columns: int | None = None) -> None:
    """Draws a grid of images with matplotlib, as in a notebook: `tfflows.show(flow.sample(16), flow.num_values)`.

    Args:
        images: as for `image_grid`, like the arguments that follow.
        num_values: the number of values of a channel.
        columns: images in a row.

    Raises:
        InputError: the array is not of images.
        UnsupportedError: matplotlib is not installed.
    """
    grid = image_grid(images, num_values, columns)
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise UnsupportedError("show draws with matplotlib, which is not installed: pip install matplotlib") from error
    _, axes = pyplot.subplots(figsize=(grid.shape[1] / 64, grid.shape[0] / 64), layout="tight")
    axes.imshow(grid.squeeze(-1) if grid.shape[-1] == 1 else grid, cmap="gray", vmin=0, vmax=255)
    axes.axis("off")
    pyplot.show()
