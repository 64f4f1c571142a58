"""The user's own images: a folder of PNG and JPEG files, or an .npz of arrays."""

import zipfile

import numpy as np
from PIL import Image

from tfflows.errors import DataError

SPLITS = ("train", "validation", "test")
SUFFIXES = {".png", ".jpg", ".jpeg"}


def read_folder(folder, split, channels, limit=None):
    """Yields {"image": uint8 [1, H, W, channels]} for each image of the split, in the order of the names.

    The subfolders `train`, `validation` and `test` are the splits; where none of them exists, of every ten
    images eight train, one validates and one tests. Images may lie deeper.
    """
    named = [name for name in SPLITS if (folder / name).is_dir()]
    if named and split not in named:
        raise DataError(f"{folder} has the subfolders {', '.join(named)} and not {split}: add it, or remove them all")
    root = folder / split if named else folder
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not named:
        paths = [paths[index] for index in _tenths(len(paths), split)]
    for path in paths[:limit]:
        try:
            with Image.open(path) as picture:
                if picture.mode.startswith(("I", "F")):
                    raise DataError(f"{path} has more than 8 bits per channel: convert it")
                pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
        except OSError as error:
            raise DataError(f"{path} is not a readable image ({error}): mend or remove it") from None
        yield {"image": pixels.reshape(1, *pixels.shape[:2], channels)}


def read_npz(path, split, limit=None):
    """{"image": [N, H, W, C], "label": [N] if the file has labels} of the split.

    The file holds either `train`, `validation`, `test` (labels: `train_label`, ...), or `image` (`label`);
    then, of every ten images, eight train, one validates and one tests.
    """
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is neither an .npz file nor a folder of images: give one of them")
    try:
        with np.load(path, allow_pickle=False) as file:
            named = [name for name in SPLITS if name in file]
            if split in named:
                keys = {"image": split, "label": f"{split}_label"}
                chosen = slice(limit)
            elif "image" in file and not named:
                keys = {"image": "image", "label": "label"}
                chosen = _tenths(len(file["image"]), split)[:limit]
            else:
                found = ", ".join(file.files) or "nothing"
                raise DataError(f"{path} holds {found}, expected {split!r} or 'image': rename or add the array")
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
    return {key: array[chosen] for key, array in images.items()}


def _tenths(number, split):
    """Indices of a split, every tenth each for validation and test, so that sorted classes do not matter."""
    index = np.arange(number)
    tenth = index % 10
    return index[{"train": tenth < 8, "validation": tenth == 8, "test": tenth == 9}[split]]
