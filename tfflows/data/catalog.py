"""Reads and, where needed, downloads the data sets of TensorFlow Datasets (tfds)."""

import contextlib
import difflib
import tempfile
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlparse

import numpy as np

from tfflows.errors import DataError

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

BLOCK = 256  # images read at a time
REMEDY = "set TFDS_DATA_DIR to a folder that holds it, or give images with --data PATH"


def read_tfds(name: str, split: str, limit: int | None = None) -> Iterator[dict[str, np.ndarray]]:
    """Yields a split of a tfds data set in blocks, in file order.

    Args:
        name: of the data set.
        split: a tfds split; slices are allowed, as "train[:90%]".
        limit: the largest number of images to read; None for all.

    Yields:
        {"image": [n, H, W, C]}, with "label" [n] where the data set has labels.

    Raises:
        DataError: there is no such data set or split, it has no images, or it cannot be downloaded.
    """
    builder = open_builder(name)
    import tensorflow as tf
    import tensorflow_datasets as tfds

    features = builder.info.features
    if "image" not in features or len(features["image"].shape) != 3:
        raise DataError(f"the data set {name!r} has no feature 'image' [H, W, C]: choose an image data set")
    _ensure_prepared(builder)
    try:
        examples = builder.as_dataset(split=split, shuffle_files=False)
    except ValueError as error:
        message = str(error).splitlines()[0]
        raise DataError(f"{name!r} has no split {split!r} ({message}): correct the recipe") from None
    keys = [key for key in ("image", "label") if key in features]
    images = examples.map(lambda example: {key: example[key] for key in keys})
    if limit is not None:
        images = images.take(limit)
    size = 1 if None in features["image"].shape else BLOCK
    yield from tfds.as_numpy(images.batch(size).prefetch(tf.data.AUTOTUNE))


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
