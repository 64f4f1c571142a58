"""A disk that refuses: asked before it matters, and its errors as one sentence."""

import contextlib
import errno
import os
import tempfile

_ROOM = "free some space, or choose another folder"
_RIGHT = "choose a folder that you may write to"
_OTHER = "choose another path"
_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EACCES: _RIGHT,
    errno.EPERM: _RIGHT,
    errno.EROFS: _RIGHT,
    errno.ENOTDIR: _OTHER,
    errno.EEXIST: _OTHER,
    errno.EISDIR: _OTHER,
    errno.ENOENT: "correct the path, or make the folder",
}


@contextlib.contextmanager
def explained(path=None):
    """A context whose OSErrors, of unchanged class, name `path` (by default their own) and say what to do."""
    try:
        yield
    except OSError as error:
        name, remedy = path or error.filename, _REMEDIES.get(error.errno)
        if name is None or remedy is None:
            raise
        raise type(error)(f"cannot use {name} ({os.strerror(error.errno)}): {remedy}") from error


def require_room(folder, size):
    """OSError unless a file of `size` bytes fits into `folder` now, for writers that do not survive a full disk."""
    with tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
