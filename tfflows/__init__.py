"""tfflows: normalizing flows for images, as Keras models on TensorFlow Probability bijectors."""

import importlib
import importlib.metadata
import multiprocessing
import os
import sys
from typing import Any

_MODULES = (
    "data",
    "dequantizers",
    "errors",
    "evaluation",
    "export",
    "flow",
    "layers",
    "models",
    "nets",
    "plots",
    "training",
    "transformers",
    "zoo",
)
_NAMES = {"Flow": "flow", "check_flow_layer": "flow", "show": "plots", "TfflowsError": "errors"}

__all__ = ["__version__", *_MODULES, *_NAMES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"tfflows.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"tfflows.{_NAMES[name]}"), name)
    if name == "__version__":
        return importlib.metadata.version("tfflows")
    raise AttributeError(f"module 'tfflows' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


def _reads_images() -> bool:
    """Returns whether this is one of Grain's worker processes, which read the images of `tfflows.data`."""
    return multiprocessing.current_process().name.startswith("grain-")


def _is_command_line() -> bool:
    """Returns whether this process is the command `tfflows` or `python -m tfflows`."""
    if os.path.basename(sys.argv[0] if sys.argv else "") in ("tfflows", "tfflows.exe"):
        return True
    return sys.argv[:1] == ["-m"] and ("-m", "tfflows") in zip(sys.orig_argv, sys.orig_argv[1:], strict=False)


# Keras loads a saved model by the registered names of its classes, so that they are all imported with the package. The
# command line does without, its help must not wait for TensorFlow, and so does what only reads images.
if _reads_images():
    from absl import logging

    logging.set_verbosity(logging.ERROR)  # each process would say that it found no JAX
elif not _is_command_line():
    import tfflows._backend  # first, since it keeps TensorFlow quiet while it loads
    import tfflows.flow
    import tfflows.models  # noqa: F401  (with layers, nets, transformers and dequantizers)
