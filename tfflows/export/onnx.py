"""Writes a flow in the ONNX format, for onnxruntime: in C++, C#, Java, JavaScript and browsers."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from tfflows.errors import InputError, UnsupportedError
from tfflows.export.endpoints import endpoints
from tfflows.export.onnx_operators import HANDLERS
from tfflows.flow import Flow

OPSET = 18  # the first with bitwise operators, which the noise needs
NAMES = ("log_prob", "encode", "decode", "sample")


def export_onnx(flow: Flow, folder: str | Path, names: Sequence[str] = NAMES) -> None:
    """Writes `log_prob.onnx`, `encode.onnx`, `decode.onnx` and `sample.onnx`, each a model of its own.

    They take and return what the SavedModel's endpoints do, see `tfflows.export.endpoints`, with a batch of any size.
    Results agree with the flow's to float32's rounding. So does an image that is decoded, except for a pixel whose
    real value lies within that error of an integer: it may be rounded down to its neighbour.

    Args:
        flow: a `Flow` on images of at most 256 values, in float32.
        folder: where the files go; other files in it are left alone.
        names: of the models to write; by default all four.

    Raises:
        InputError: the flow is not one on such images, or computes in float64.
        UnsupportedError: tf2onnx is not installed, or Keras runs on another backend than TensorFlow.
        OSError: the folder cannot be written to.
    """
    exported = endpoints(flow)
    if flow.dtype != "float32":
        raise InputError(f"a flow of dtype {flow.dtype} cannot be exported to ONNX: build it with dtype float32")
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise UnsupportedError(f"ONNX needs {error.name}: pip install 'tfflows[onnx]'") from error
    import tensorflow as tf

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        function, signature = exported[name]
        traced = tf.function(function, signature, autograph=False)
        with _quiet():
            model, _ = tf2onnx.convert.from_function(traced, signature, OPSET, custom_op_handlers=HANDLERS)
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
        onnx.checker.check_model(model)
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A context without tf2onnx's messages on each pass over the graph."""
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
