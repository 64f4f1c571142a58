"""Images of an .npz file: arrays that are read, or mapped into memory where they are large.

Only what `numpy.savez` writes can be mapped: `numpy.savez_compressed` does not store arrays as they are.
"""

import contextlib
import functools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfflows.data.files import place
from tfflows.data.split import Arrays, fits_in_memory
from tfflows.errors import DataError


class NpzImages:
    """A split of an .npz file, read by index: {"image": [H, W, C]}, with "label" [] where the file has labels.

    Args:
        path: of a file with the arrays `train`, `validation`, `test` (and `train_label`, ...), or `image` (and
            `label`), each [N, H, W] or [N, H, W, C]. Labels that are not numbers are left out.
        split: "train", "validation" or "test".

    Raises:
        DataError: the file cannot be read, or has no such split.
    """

    def __init__(self, path: Path, split: str) -> None:
        self.path = path
        if not zipfile.is_zipfile(path):
            raise DataError(f"{path} is neither an .npz file nor a folder of images: give one of them")
        with _opened(path) as file:
            part, tenths = place(file.files, split, path, "arrays")
            if not part and "image" not in file:
                found = ", ".join(file.files) or "nothing"
                raise DataError(f"{path} holds {found}, expected {split!r} or 'image': rename or add the array")
            keys = {"image": part or "image", "label": f"{part}_label" if part else "label"}
            self.names = {key: name for key, name in keys.items() if name in file}
        if len({len(array) for array in self.arrays.values()}) > 1:
            images, labels = (len(array) for array in self.arrays.values())
            raise DataError(f"{path} has {images} images and {labels} labels: make them equal")
        self.rows = np.flatnonzero(np.isin(np.arange(len(self.arrays["image"])) % 10, tenths))

    @functools.cached_property
    def arrays(self) -> Arrays:
        """The arrays of the file, not of the split alone; those that are large are mapped."""
        with _opened(self.path) as file:
            arrays = {key: _read(file, self.path, name) for key, name in self.names.items()}
        if arrays["image"].ndim == 3:
            arrays["image"] = arrays["image"][..., None]
        if "label" in arrays and not np.issubdtype(arrays["label"].dtype, np.number):
            del arrays["label"]  # in words: of no use but to a model of classes, which says so
        return arrays

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "arrays"}  # opened anew by every process

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Arrays:
        image = self.arrays["image"]
        if not isinstance(image, np.memmap) and not fits_in_memory(image.nbytes):
            raise DataError(
                f"{self.path} is compressed and takes {image.nbytes / 1e9:.1f} GB as an array, too much for memory: "
                "write it again with numpy.savez, whose arrays are read by index"
            )
        return {key: array[self.rows[index]] for key, array in self.arrays.items()}

    def blocks(self, limit: int | None = None) -> Iterator[Arrays]:
        """Yields the first images, at most `limit`, as one block [n, ...]."""
        yield {key: array[self.rows[:limit]] for key, array in self.arrays.items()}


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    try:
        with np.load(path, allow_pickle=False) as file:
            yield file
    except DataError:
        raise
    except (OSError, ValueError, zipfile.BadZipFile) as error:  # ValueError: an array of objects
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} cannot be read ({reason}): write it again with numpy.savez") from None


def _read(file: np.lib.npyio.NpzFile, path: Path, name: str) -> np.ndarray:
    """Returns an array of an .npz file, mapped where it is too large to be held and not compressed."""
    member = file.zip.getinfo(f"{name}.npy")
    if member.compress_type != zipfile.ZIP_STORED or fits_in_memory(member.file_size):
        return file[name]
    with path.open("rb") as raw:
        raw.seek(member.header_offset + 26)  # of the member's own header: its lengths differ from the directory's
        lengths = np.frombuffer(raw.read(4), "<u2")
        raw.seek(member.header_offset + 30 + int(lengths.sum()))
        version = np.lib.format.read_magic(raw)
        header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}[version[0]]
        shape, columns_first, dtype = header(raw)
        if dtype.hasobject:
            return file[name]  # which says that it is refused
        return np.memmap(path, dtype, "r", raw.tell(), shape, "F" if columns_first else "C")
