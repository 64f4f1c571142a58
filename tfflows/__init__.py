"""tfflows: normalizing flows for images, as Keras models on TensorFlow Probability bijectors."""

import importlib

_MODULES = ("layers", "models", "nets", "scores", "zoo")
_NAMES = {"Flow": "tfflows.flow", "check_flow_layer": "tfflows.check"}

__all__ = [*_MODULES, *_NAMES]


def __getattr__(name):
    # On first use, so that the command line can print its help without importing TensorFlow.
    if name in _MODULES:
        return importlib.import_module(f"tfflows.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'tfflows' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
