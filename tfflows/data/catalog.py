"""Reads and, where needed, downloads the data sets of TensorFlow Datasets (tfds)."""

import contextlib
import difflib
import functools
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import numpy as np

from tfflows.errors import DataError

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

LARGEST_BLOCK = 256  # images read at a time
REMEDY = "set TFDS_DATA_DIR to a folder that holds it, or give images with --data PATH"


class TfdsImages:
    """A split of a tfds data set, which is downloaded and prepared where it is not yet.

    It is read in order, or by index where its files are ArrayRecord: {"image": [h, w, C]}, with "label" [] where the
    data set has labels.

    Args:
        name: of the data set.
        split: a tfds split; slices are allowed, as "train[:90%]".

    Raises:
        DataError: there is no such data set or split, it has no images, or it cannot be downloaded; when it is read by
            index, its files are read in order alone.
    """

    def __init__(self, name: str, split: str) -> None:
        self.builder = builder = open_builder(name)
        features = builder.info.features
        if "image" not in features or len(features["image"].shape) != 3:
            raise DataError(f"the data set {name!r} has no feature 'image' [H, W, C]: choose an image data set")
        _ensure_prepared(builder)
        self.full_name, self.folder, self.split = builder.info.full_name, str(builder.data_path), split
        self.keys = [key for key in ("image", "label") if key in features]
        self.block_size = 1 if None in features["image"].shape else LARGEST_BLOCK
        self.formats = {each.value for each in builder.info.available_file_formats()}
        try:
            self.number = builder.info.splits[split].num_examples
        except (KeyError, ValueError) as error:
            message = str(error.args[0]).splitlines()[0]
            raise DataError(f"{name!r} has no split {split!r} ({message}): correct the recipe") from None

    @functools.cached_property
    def records(self) -> Sequence[dict[str, np.ndarray]]:
        """The examples, read by index; from the folder alone, since other processes may not know the builder's code."""
        import tensorflow_datasets as tfds

        if "array_record" not in self.formats:
            raise DataError(
                f"the split {self.split!r} of {self.full_name!r} is too large for memory, and files of the format "
                f"{' or '.join(sorted(self.formats))} are not read by index: prepare it again with tfds build "
                f"{self.full_name.rpartition('/')[0]} --file_format=array_record --data_dir=FOLDER, and set "
                "TFDS_DATA_DIR=FOLDER"
            )
        builder = tfds.builder_from_directory(self.folder)
        return builder.as_data_source(self.split, file_format="array_record")

    def __getstate__(self) -> dict[str, Any]:
        state = vars(self).items()
        return {key: value for key, value in state if key not in ("builder", "records")}  # each process has its own

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        example = self.records[index]
        return {key: example[key] for key in self.keys}

    def blocks(self, limit: int | None = None) -> Iterator[dict[str, np.ndarray]]:
        """Yields the first images, at most `limit`, in blocks [n, h, w, C]: one by one where their sizes differ."""
        if self.formats == {"array_record"}:  # which tf.data does not read
            for index in range(min(len(self), limit or len(self))):
                yield {key: np.asarray(value)[None] for key, value in self[index].items()}
            return
        import tensorflow_datasets as tfds

        from tfflows.data.adapters import READ_AHEAD, untuned

        examples = self.builder.as_dataset(split=self.split, shuffle_files=False)
        images = examples.map(lambda example: {key: example[key] for key in self.keys})
        if limit is not None:
            images = images.take(limit)
        yield from tfds.as_numpy(untuned(images.batch(self.block_size).prefetch(READ_AHEAD)))


def open_builder(name: str) -> "tfds.core.DatasetBuilder":
    """Returns the tfds builder of a data set, which may not have been downloaded yet.

    Raises:
        DataError: tfds is not installed, or has no such data set.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise DataError(
            f"the data set {name!r} needs TensorFlow Datasets, which is not installed: install it and "
            "tensorflow, or give images with --data PATH"
        ) from None
    from tfflows.data import tfds_digits  # noqa: F401  (registers the builder)

    try:
        return tfds.builder(name)
    except tfds.core.registered.DatasetNotFoundError:
        nearest = difflib.get_close_matches(name, tfds.list_builders(with_community_datasets=False), n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else "choose one of tfds.list_builders()"
        raise DataError(f"TensorFlow Datasets has no data set {name!r}; {hint}") from None


def _ensure_prepared(builder: "tfds.core.DatasetBuilder") -> None:
    """Downloads and prepares the data set if it is not there; a failure leaves nothing behind."""
    if (builder.data_path / "dataset_info.json").exists():  # what builder.is_prepared() asks, without its warning
        return
    import tensorflow_datasets as tfds

    depth = len(builder.info.full_name.split("/"))  # <root>/<name>[/<config>]/<version>
    root = builder.data_path.parents[depth - 1]
    missing = f"the data set {builder.info.full_name!r} is not in {root} and cannot be downloaded"
    if host := _unreachable(builder.url_infos):
        raise DataError(f"{missing} ({host} cannot be reached): {REMEDY}")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix="downloading_") as folder:
            manual = root / "downloads" / "manual"  # where tfds expects what only a person can download
            config = tfds.download.DownloadConfig(manual_dir=manual)
            builder.download_and_prepare(download_dir=folder, download_config=config)
    except Exception as error:  # tfds raises what its hosts, parsers and file systems raise
        for parent in builder.data_path.parents[:depth]:
            with contextlib.suppress(OSError):  # not empty: others use it
                parent.rmdir()
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{missing} ({reason}): {REMEDY}") from error


def _unreachable(urls: Iterable[str] | None) -> str | None:
    """Returns the host of the first URL if it does not answer; tfds itself would try again for minutes."""
    import requests

    for url in list(urls or ())[:1]:
        try:
            requests.get(url, stream=True, timeout=10).close()
        except requests.RequestException:
            return urlparse(url).hostname
    return None
