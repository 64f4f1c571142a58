"""Flows outside of Python.

endpoints         the functions that are exported
saved_model       a flow becomes a SavedModel
verdict           the p-value of an image, as operations of a graph
warmup            the requests that TensorFlow Serving replays when it loads one
onnx              a flow becomes ONNX models
onnx_operators    TensorFlow's operations in those of ONNX
deployment        a model of the zoo becomes a version folder of a deployment
bundle            configuration and example requests beside such folders; `templates/` has them
"""

from tfflows.export.deployment import deploy
from tfflows.export.onnx import export_onnx
from tfflows.export.saved_model import export

__all__ = ["deploy", "export", "export_onnx"]
