"""The user's own images: a folder of PNG and JPEG files (an .npz file of arrays: `npz`).

Both may have the parts `train`, `validation` (or `val`) and `test`: as subfolders, or as arrays. Where there are no
parts, of every ten images eight train, one validates and one tests. Where `validation` or `test` alone is missing, a
tenth of `train` takes its place.
"""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tfflows.errors import DataError

SPLITS = ("train", "validation", "test")
SUFFIXES = {".png", ".jpg", ".jpeg"}
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises on damaged files


class FolderImages:
    """A split of a folder, read by index in the order of the names: {"image": uint8 [H, W, channels]}.

    Args:
        folder: of the images, which may lie in subfolders of any depth.
        split: "train", "validation" or "test".
        channels: 1 for grey or 3 for colour; images of another kind are converted.

    Raises:
        DataError: the folder has no such split; when it is read, an image is unreadable or has more than 8 bits per
            channel.
    """

    def __init__(self, folder: Path, split: str, channels: int) -> None:
        self.folder, self.channels = folder, channels
        names = [str(path.relative_to(folder)) for path in image_paths(folder, split)]
        self.names = np.array([os.fsencode(name) for name in names], "S")  # a tenth of what as many paths take

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {"image": read_image(self.folder / os.fsdecode(self.names[index]), self.channels)}

    def blocks(self, limit: int | None = None) -> Iterator[dict[str, np.ndarray]]:
        """Yields the first images, at most `limit`, in blocks [1, H, W, channels]: their sizes may differ."""
        for index in range(min(len(self), limit or len(self))):
            yield {"image": self[index]["image"][None]}


def read_image(path: Path, channels: int) -> np.ndarray:
    """Returns an image file as uint8 [H, W, channels], 1 for grey or 3 for colour; `DataError` as of `FolderImages`."""
    try:
        with Image.open(path) as picture:
            deep = picture.mode.startswith(("I", "F"))
            pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
    except UNREADABLE as error:
        raise DataError(f"{path} is not a readable image ({error}): repair or remove it") from None
    if deep:
        raise DataError(f"{path} has more than 8 bits per channel: convert it")
    return pixels.reshape(*pixels.shape[:2], channels)


def image_paths(folder: Path, split: str) -> list[Path]:
    """Returns the sorted paths of the images of a split of a folder; `DataError` if it has no such split."""
    part, tenths = place([path.name for path in folder.iterdir() if path.is_dir()], split, folder, "subfolders")
    root = folder / part if part else folder
    paths = paths_in(root)
    return [path for index, path in enumerate(paths) if index % 10 in tenths]


def paths_in(folder: Path) -> list[Path]:
    """Returns the sorted paths of all images in a folder and its subfolders."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def parts(names: Collection[str]) -> dict[str, str]:
    """Returns {split: its subfolder or array} for the splits that stand under a name of their own."""
    found = {split: split for split in SPLITS if split in names}
    if "validation" not in found and "val" in names:
        found["validation"] = "val"
    return found


def place(names: Collection[str], split: str, source: Path, kind: str) -> tuple[str, tuple[int, ...]]:
    """Returns the part that holds a split ("" for the whole), and which of every ten images there belong to it.

    The tenths are interleaved, so that images sorted by class fall into all splits.
    """
    found = parts(names)
    if found and "train" not in found and split not in found:
        raise DataError(f"{source} has the {kind} {', '.join(found.values())} and not {split}: add it")
    tenth = {"validation": 8, "test": 9}
    if split == "train":
        taken = [index for other, index in tenth.items() if other not in found]
        return found.get("train", ""), tuple(index for index in range(10) if index not in taken)
    if split in found:
        return found[split], tuple(range(10))
    return found.get("train", ""), (tenth[split],)
