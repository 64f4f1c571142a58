"""Writes a flow in the ONNX format, for onnxruntime: in C++, C#, Java, JavaScript and browsers."""

import contextlib
import importlib.util
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tfflows._backend import Tensor
from tfflows.errors import InputError, UnsupportedError
from tfflows.evaluation.calibration import Calibration
from tfflows.export.endpoints import endpoints
from tfflows.export.onnx_operators import HANDLERS, give_kernels_a_rank
from tfflows.flow import Flow

OPSET = 18  # the first with bitwise operators, which the noise needs
NAMES = ("log_prob", "encode", "decode", "sample")
# Of tf2onnx, those that find something in these graphs; runtimes have their own.
PASSES = ("remove_identity", "merge_duplication", "fold_constants", "optimize_transpose")


def export_onnx(
    flow: Flow, folder: str | Path, calibration: Calibration | None = None, names: Sequence[str] = NAMES
) -> None:
    """Writes `log_prob.onnx`, `encode.onnx`, `decode.onnx` and `sample.onnx`, each a model of its own.

    They take and return what the SavedModel's endpoints do, see `tfflows.export.endpoints`, with a batch of any size.
    Results agree with the flow's to float32's rounding. So does an image that is decoded, except for a pixel whose
    real value lies within that error of an integer: it may be rounded down to its neighbour.

    Args:
        flow: a `Flow` on images of at most 256 values, in float32.
        folder: where the files go; other files in it are left alone.
        calibration: of the flow, for p-values.
        names: of the models to write; by default all four.

    Raises:
        InputError: the flow is not one on such images, or computes in float64.
        UnsupportedError: tf2onnx or onnx is not installed, or Keras runs on another backend than TensorFlow.
        OSError: the folder cannot be written to.
    """
    exported = endpoints(flow, calibration)
    if flow.dtype != "float32":
        raise InputError(f"a flow of dtype {flow.dtype} cannot be exported to ONNX: build it with dtype float32")
    if missing := [module for module in ("tf2onnx", "onnx") if importlib.util.find_spec(module) is None]:
        raise UnsupportedError(f"ONNX needs {', '.join(missing)}: pip install 'tfflows[onnx]'")
    import onnx

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        model = _convert(*exported[name])
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
        onnx.checker.check_model(model)
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString())


def _convert(function: Callable[..., dict[str, Tensor]], signature: list) -> Any:
    """Returns a function of tensors as an `onnx.ModelProto`; weights become constants."""
    import tensorflow as tf
    from tf2onnx import convert, optimizer, tf_loader, tfonnx

    # Not by `convert.from_function`: it ignores what it cannot convert, and copies the graph for each pass.
    traced = tf.function(function, signature, autograph=False).get_concrete_function()
    inputs = [tensor.name for tensor in traced.inputs if tensor.dtype != tf.resource]
    outputs = [tensor.name for tensor in traced.outputs]
    frozen = tf_loader.from_function(traced, inputs, outputs)
    with _quiet(), tf.Graph().as_default() as graph:
        tf.import_graph_def(frozen, name="")
        converted = tfonnx.process_tf_graph(
            graph,
            opset=OPSET,
            custom_op_handlers=HANDLERS,
            custom_rewriter=[give_kernels_a_rank],
            input_names=inputs,
            output_names=outputs,
            tensors_to_rename=convert.tensor_names_from_structed(traced, inputs, outputs),
        )
        passes = {name: make for name, make in optimizer._optimizers.items() if name in PASSES}
        return optimizer.optimize_graph(converted, catch_errors=False, optimizers=passes).make_model("tfflows")


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
