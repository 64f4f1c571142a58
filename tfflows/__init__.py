"""tfflows: normalizing flows for images, as Keras models on TensorFlow Probability bijectors."""

import importlib
import importlib.metadata
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
    "training",
    "transformers",
    "zoo",
)
_NAMES = {"Flow": "flow", "check_flow_layer": "flow", "TfflowsError": "errors"}

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


# Keras loads a saved model by the registered names of its classes, so they are all imported with the package. The
# command line (a script named tfflows, or python -m) alone goes without: its help must not wait for TensorFlow.
if os.path.basename(sys.argv[0] if sys.argv else "") not in ("tfflows", "tfflows.exe", "-m"):
    import tfflows._backend  # first, since it keeps TensorFlow quiet while it loads
    import tfflows.flow
    import tfflows.models  # noqa: F401  (with layers, nets, transformers and dequantizers)
