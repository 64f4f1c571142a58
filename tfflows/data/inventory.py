"""What a folder of images or an .npz file holds, found before anything is trained on it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tfflows.data.files import SPLITS, UNREADABLE, image_paths, parts
from tfflows.data.npz import NpzImages
from tfflows.errors import DataError

GREY_MODES = ("1", "L", "LA")
BLOCK = 4096  # images whose values are looked at at a time


@dataclass(frozen=True)
class Inventory:
    """What a folder of images or an .npz file holds.

    Attributes:
        path: of the folder or the file.
        counts: number of images of each split.
        made: the splits that the source does not have and that were cut out of other images.
        sizes: how many images have each (height, width).
        channels: 1 if all images are grey, else 3.
        num_values: number of grey values: 256 for a folder.
    """

    path: Path
    counts: Mapping[str, int]
    made: tuple[str, ...]
    sizes: Mapping[tuple[int, int], int]
    channels: int
    num_values: int

    def __str__(self) -> str:
        heights, widths = ([size[axis] for size in self.sizes] for axis in (0, 1))
        size = f"{min(heights)}x{min(widths)}"
        if len(self.sizes) > 1:
            size = f"from {size} to {max(heights)}x{max(widths)}"
        counts = ", ".join(f"{count:,} {split}" for split, count in self.counts.items())
        if len(self.made) == len(SPLITS):
            counts = f"split into {counts} (every tenth each for validation and test)"
        elif self.made:
            counts += f" ({' and '.join(self.made)} taken from train)"
        return (
            f"{self.path}: {sum(self.counts.values()):,} images, {'grey' if self.channels == 1 else 'colour'}, "
            f"{size}, {self.num_values} values; {counts}"
        )


def take_inventory(path: str | Path) -> Inventory:
    """Counts the images of a folder or an .npz file, and reads their sizes and colours.

    Raises:
        DataError: an image cannot be read, or a split has no image.
    """
    path = Path(path).expanduser()
    found = _list_folder(path) if path.is_dir() else _list_npz(path)
    total = sum(found.counts.values())
    empty = [split for split, count in found.counts.items() if not count]
    if empty:
        what = f"{path} has {total} images and none for {' and '.join(empty)}"
        if set(empty) <= set(found.made):
            raise DataError(f"{what}, which gets every tenth of the others: give at least 10")
        raise DataError(f"{what}: add some, or remove what is empty to have it made from the others")
    return found


def _list_folder(folder: Path) -> Inventory:
    paths = {split: image_paths(folder, split) for split in SPLITS}
    sizes, modes = Counter(), set()
    for image in (path for split in paths.values() for path in split):
        try:
            with Image.open(image) as picture:  # reads the header alone
                sizes[picture.height, picture.width] += 1
                modes.add(picture.mode)
        except UNREADABLE as error:
            raise DataError(f"{image} is not a readable image ({error}): repair or remove it") from None
    counts = {split: len(split_paths) for split, split_paths in paths.items()}
    named = parts([path.name for path in folder.iterdir() if path.is_dir()])
    return Inventory(folder, counts, _made(named), sizes, 1 if modes <= {*GREY_MODES} else 3, 256)


def _list_npz(path: Path) -> Inventory:
    counts, sizes, channels, highest = {}, Counter(), set(), 0
    for split in SPLITS:
        split_images = NpzImages(path, split)
        images, rows = split_images.arrays["image"], split_images.rows
        counts[split] = len(rows)
        if images.ndim != 4 or not np.issubdtype(images.dtype, np.integer):
            raise DataError(
                f"the images of {path} are {images.dtype} of shape {list(images.shape)}, expected integers [N, H, W] "
                "or [N, H, W, C]: convert them"
            )
        if len(rows):
            sizes[images.shape[1:3]] += len(rows)
            channels.add(images.shape[3])
            blocks = (images[rows[start : start + BLOCK]] for start in range(0, len(rows), BLOCK))
            highest = max(highest, *(int(block.max()) for block in blocks))
    if len(channels) > 1 or not channels <= {1, 3}:
        raise DataError(f"the images of {path} have {sorted(channels)} channels, expected 1 or 3: convert them")
    with np.load(path, allow_pickle=False) as file:
        named = parts(file.files)
    # Fewer values than half of a byte's are the data set's own, as the 17 of scikit-learn's digits.
    num_values = 256 if highest > 127 else max(2, highest + 1)
    return Inventory(path, counts, _made(named), sizes, max(channels, default=1), num_values)


def _made(named: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(split for split in SPLITS if split not in named)
