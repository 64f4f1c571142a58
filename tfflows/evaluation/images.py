"""Images as PNG files."""

import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from tfflows.errors import explained_os_errors
from tfflows.plots import image_grid, to_uint8


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
