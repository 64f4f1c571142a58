"""What was downloaded to this machine, and its removal."""

import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from tfflows.errors import NotFoundError, StoreError
from tfflows.zoo import store


def entries() -> list[tuple[Path, int]]:
    """Returns the sorted (path, bytes) of downloaded version folders, and of unfinished downloads (hidden names)."""
    paths = sorted(path for path in store.downloads().glob("*/*") if path.name != store.LOCK)
    return [(path, sum(_size(file) for file in (path, *path.rglob("*")))) for path in paths]


def clear(name: str | None = None) -> int:
    """Deletes what was downloaded, of one model or of all; what the user has trained is not touched.

    Args:
        name: the name of a model; None for all.

    Returns:
        The number of bytes that were freed.

    Raises:
        NotFoundError: nothing of `name` was downloaded.
        StoreError: it is being downloaded now.
    """
    chosen = [(path, size) for path, size in entries() if name in (None, path.parent.name)]
    if name is not None and not chosen:
        raise NotFoundError(f"nothing of {name!r} was downloaded: `tfflows cache list` shows what was")
    for path, _ in chosen:
        try:
            with FileLock(path.parent / store.LOCK, timeout=0):
                delete(path)
        except Timeout as error:
            raise StoreError(f"{path.parent.name} is being downloaded: wait until that ends") from error
    return sum(size for _, size in chosen)


def delete(path: Path) -> None:
    """Deletes a version folder at once, as far as readers can see, or what an unfinished download left."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    partial = path.with_name(store.PARTIAL)
    if path != partial:  # a version is renamed first, so that it goes at once: deleting takes time
        shutil.rmtree(partial, ignore_errors=True)
        path.rename(partial)
    shutil.rmtree(partial)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
