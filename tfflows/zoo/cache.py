"""What `tfflows.download` has left on this machine: a list of it, and its removal."""

import shutil

from filelock import FileLock, Timeout

from tfflows.errors import NotFoundError, StoreError
from tfflows.zoo import store


def entries():
    """Sorted [(path, bytes)] of downloaded version folders, and of what broken-off downloads left (hidden names)."""
    paths = sorted(path for path in store.downloads().glob("*/*") if path.name != store.LOCK)
    return [(path, sum(_size(file) for file in (path, *path.rglob("*")))) for path in paths]


def clear(name=None):
    """Delete what was downloaded, of one model or of all; what the user has trained is not touched.

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
                _delete(path)
        except Timeout as error:
            raise StoreError(f"{path.parent.name} is being downloaded: wait until that ends") from error
    return sum(size for _, size in chosen)


def _delete(path):
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    partial = path.with_name(store.PARTIAL)
    if path != partial:  # a version is renamed first, so that it goes at once: deleting takes time
        shutil.rmtree(partial, ignore_errors=True)
        path.rename(partial)
    shutil.rmtree(partial)


def _size(path):
    return path.stat().st_size if path.is_file() else 0
