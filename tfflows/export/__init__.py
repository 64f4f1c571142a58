"""Flows outside of Python: SavedModels, warm-up requests, and the files of a TensorFlow Serving deployment."""

from tfflows.export.saved_model import export

__all__ = ["export"]
