"""Imports Keras's backend without the lines that TensorFlow's libraries print as they load."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tfflows.errors import TfflowsImportError

BACKENDS = ("tensorflow", "jax")
NOISE = re.compile(rb"absl::InitializeLog|oneDNN|cuda drivers|cuInit|CPU instructions|enable the following instr")


@contextlib.contextmanager
def quiet_import() -> Iterator[None]:
    """A context for the first import of Keras: without start-up noise, and one sentence if its backend is missing.

    The lines come from C++ before any setting is read, so they are removed from the process's standard error; all
    others appear when the import ends. Nothing is done where TensorFlow is loaded already, or where the user asks for
    every line by TF_CPP_MIN_LOG_LEVEL=0.

    Raises:
        TfflowsImportError: Keras's backend is not installed.
    """
    try:
        with _filtered_stderr():
            yield
    except ModuleNotFoundError as error:
        if error.name not in (*BACKENDS, "torch"):
            raise
        others = " or ".join(repr(name) for name in BACKENDS if name != error.name)
        raise TfflowsImportError(
            f"Keras is set to the backend {error.name!r}, which is not installed: set the environment variable "
            f"KERAS_BACKEND to {others}"
        ) from error


@contextlib.contextmanager
def _filtered_stderr() -> Iterator[None]:
    if "tensorflow" in sys.modules or os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    # Without an NVIDIA driver the search for a GPU is reported as an error, at the first operation.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if Path("/proc/driver/nvidia").exists() else "3")
    try:
        stderr = os.dup(2)
    except OSError:  # closed, as in some services
        yield
        return
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            kept.seek(0)
            os.write(2, b"".join(line for line in kept.readlines() if not NOISE.search(line)))
