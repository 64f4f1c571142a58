"""Deletes weights from the user's store."""

import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from tfflows.errors import InputError, NotFoundError, StoreError
from tfflows.zoo import store
from tfflows.zoo.folders import packaged_folder


def remove(name: str, version: int | None = None) -> list[Path]:
    """Deletes weights that the user has trained; those that come with tfflows stay.

    Args:
        name: the name of a model.
        version: number of the weights; None for all, with the logs and the checkpoints of a run that was stopped.

    Returns:
        The version folders that were deleted.

    Raises:
        NotFoundError: the user has trained no such weights.
        StoreError: the model is in training.
    """
    parent = store.home() / store.check_name(name)
    versions = [each for each in store.versions(parent) if version in (None, each)]
    if not versions and (version is not None or not parent.is_dir()):
        which = name if version is None else f"{name}/{version}"
        kept = store.versions(packaged_folder("saved_models") / name)
        reason = "it comes with tfflows" if kept and version in (None, *kept) else "`tfflows list` shows the models"
        raise NotFoundError(f"there is no {which} in {store.home()} to remove: {reason}")
    try:
        with FileLock(parent / ".training.lock", timeout=0), FileLock(parent / store.LOCK, timeout=0):
            for each in versions:
                _delete(parent / str(each))
            if version is None:
                shutil.rmtree(parent)
    except Timeout as error:
        raise StoreError(f"{name} is in training in {parent}: wait until that ends") from error
    return [parent / str(each) for each in versions]


def _delete(path: Path) -> None:
    """Deletes a version folder at once, as far as readers can see."""
    partial = path.with_name(store.PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    path.rename(partial)  # so that the version goes at once: deleting takes time
    shutil.rmtree(partial)


def split_version(text: str) -> tuple[str, int | None]:
    """Returns the name and version of `NAME` or `NAME/VERSION`; InputError where the version is not a number."""
    name, slash, version = text.partition("/")
    if slash and not version.isdecimal():
        raise InputError(f"{text!r} is not a model: write NAME or NAME/VERSION, with a number")
    return name, int(version) if slash else None
