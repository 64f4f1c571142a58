"""The user's own images: a folder of PNG and JPEG files, or an .npz file of arrays.

Both may have the parts `train`, `validation` (or `val`) and `test`: as subfolders, or as arrays. Where there are no
parts, of every ten images eight train, one validates and one tests. Where `validation` or `test` alone is missing, a
tenth of `train` takes its place.
"""

import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tfflows.errors import DataError

SPLITS = ("train", "validation", "test")
SUFFIXES = {".png", ".jpg", ".jpeg"}


def read_folder(folder: Path, split: str, channels: int, limit: int | None = None) -> Iterator[dict[str, np.ndarray]]:
    """Yields {"image": uint8 [1, H, W, channels]} for each image of a split, in the order of their names.

    Args:
        folder: of the images, which may lie in subfolders of any depth.
        split: "train", "validation" or "test".
        channels: 1 for grey or 3 for colour; images of another kind are converted.
        limit: the largest number of images to read; None for all.

    Raises:
        DataError: an image cannot be read or has more than 8 bits per channel, or the folder has no such split.
    """
    for path in image_paths(folder, split)[:limit]:
        yield {"image": read_image(path, channels)[None]}


def read_image(path: Path, channels: int) -> np.ndarray:
    """Returns an image file as uint8 [H, W, channels], 1 for grey or 3 for colour; `DataError` as of `read_folder`."""
    try:
        with Image.open(path) as picture:
            if picture.mode.startswith(("I", "F")):
                raise DataError(f"{path} has more than 8 bits per channel: convert it")
            pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
    except OSError as error:
        raise DataError(f"{path} is not a readable image ({error}): repair or remove it") from None
    return pixels.reshape(*pixels.shape[:2], channels)


def image_paths(folder: Path, split: str) -> list[Path]:
    """Returns the sorted paths of the images of a split of a folder; `DataError` if it has no such split."""
    part, tenths = _place([path.name for path in folder.iterdir() if path.is_dir()], split, folder, "subfolders")
    root = folder / part if part else folder
    paths = paths_in(root)
    return [path for index, path in enumerate(paths) if index % 10 in tenths]


def paths_in(folder: Path) -> list[Path]:
    """Returns the sorted paths of all images in a folder and its subfolders."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def read_npz(path: Path, split: str, limit: int | None = None) -> dict[str, np.ndarray]:
    """Returns a split of an .npz file.

    Args:
        path: of a file with the arrays `train`, `validation`, `test` (and `train_label`, ...), or `image` (and
            `label`), each [N, H, W] or [N, H, W, C].
        split: "train", "validation" or "test".
        limit: the largest number of images; None for all.

    Returns:
        {"image": [N, H, W, C]}, with "label" [N] where the file has labels.

    Raises:
        DataError: the file cannot be read, or has no such split.
    """
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is neither an .npz file nor a folder of images: give one of them")
    try:
        with np.load(path, allow_pickle=False) as file:
            part, tenths = _place(file.files, split, path, "arrays")
            if not part and "image" not in file:
                found = ", ".join(file.files) or "nothing"
                raise DataError(f"{path} holds {found}, expected {split!r} or 'image': rename or add the array")
            keys = {"image": part or "image", "label": f"{part}_label" if part else "label"}
            images = {key: file[name] for key, name in keys.items() if name in file}
    except DataError:
        raise
    except (OSError, ValueError, zipfile.BadZipFile) as error:  # ValueError: an array of objects
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} cannot be read ({reason}): write it again with numpy.savez") from None
    if images["image"].ndim == 3:
        images["image"] = images["image"][..., None]
    if len({len(array) for array in images.values()}) > 1:
        raise DataError(f"{path} has {len(images['image'])} images and {len(images['label'])} labels: make them equal")
    chosen = np.isin(np.arange(len(images["image"])) % 10, tenths)
    return {key: array[chosen][:limit] for key, array in images.items()}


def parts(names: Collection[str]) -> dict[str, str]:
    """Returns {split: its subfolder or array} for the splits that stand under a name of their own."""
    found = {split: split for split in SPLITS if split in names}
    if "validation" not in found and "val" in names:
        found["validation"] = "val"
    return found


def _place(names: Collection[str], split: str, source: Path, kind: str) -> tuple[str, tuple[int, ...]]:
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
