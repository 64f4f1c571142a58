"""The errors that tfflows raises: one sentence each, which says what was given, what was expected and what to do.

The command line prints the sentence of a `TfflowsError`; any other exception is a fault of the library, and keeps its
traceback. Where Python has a built-in exception for the case, the class here is one of that kind too, so that
`except ValueError` works as usual.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path


class TfflowsError(Exception):
    """The base of all errors that tfflows raises on purpose."""


class InputError(TfflowsError, ValueError):
    """An argument has a wrong value, shape or range."""


class InputTypeError(TfflowsError, TypeError):
    """An argument has a wrong type or dtype."""


class UnsupportedError(TfflowsError, NotImplementedError):
    """What was asked for needs another backend, or a package that is not installed."""


class TfflowsImportError(TfflowsError, ImportError):
    """Keras has no backend that tfflows runs on."""


class DataError(InputError):
    """Images are missing, or are not what the recipe says."""


class DivergedError(TfflowsError, ArithmeticError):
    """The loss or the validation bits/dim is not finite; the last good checkpoint is kept."""


class StoreError(TfflowsError, RuntimeError):
    """A model folder cannot be read or written."""


class NotFoundError(StoreError):
    """There is no model of this name or version."""


class NotTrainedError(NotFoundError):
    """The model is in the zoo but there are no weights of it."""


class HubError(StoreError):
    """The Hugging Face hub cannot be reached, refuses, or has no such model."""


class ExistsError(StoreError):
    """There is such a version already; versions are never overwritten."""


class CorruptError(StoreError):
    """A file of a model folder is missing, or is not the one that was written."""


_MAKE_ROOM = "free some space, or choose another folder"
_GET_PERMISSION = "choose a folder that you may write to"
_OTHER_PATH = "choose another path"
_REMEDIES = {
    errno.ENOSPC: _MAKE_ROOM,
    errno.EFBIG: _MAKE_ROOM,
    errno.EDQUOT: _MAKE_ROOM,
    errno.EACCES: _GET_PERMISSION,
    errno.EPERM: _GET_PERMISSION,
    errno.EROFS: _GET_PERMISSION,
    errno.ENOTDIR: _OTHER_PATH,
    errno.EEXIST: _OTHER_PATH,
    errno.EISDIR: _OTHER_PATH,
    errno.ENOENT: "correct the path, or make the folder",
}


@contextlib.contextmanager
def explained_os_errors(path: str | Path | None = None) -> Iterator[None]:
    """A context whose OSErrors, of unchanged class, say what to do.

    Args:
        path: the file or folder that the message names; by default the one that the error names.
    """
    try:
        yield
    except OSError as error:
        name, remedy = path or error.filename, _REMEDIES.get(error.errno)
        if name is None or remedy is None:
            raise
        raise type(error)(f"cannot use {name} ({os.strerror(error.errno)}): {remedy}") from error
