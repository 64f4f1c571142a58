"""Writes a flow as a SavedModel, for TensorFlow Serving and other programs that load TensorFlow's format."""

from pathlib import Path

import numpy as np

from tfflows.evaluation.calibration import Calibration
from tfflows.export import warmup
from tfflows.export.endpoints import Endpoint, endpoints
from tfflows.flow import Flow


def export(flow: Flow, folder: str | Path, calibration: Calibration | None = None) -> None:
    """Writes a SavedModel that needs TensorFlow alone: no tfflows, no Keras, no Python.

    Its endpoints `log_prob`, `encode`, `decode` and `sample` take and return dicts of tensors, see
    `tfflows.export.endpoints`: one image gives one number and one seed gives one image, whatever the batch that it
    comes in. `serving_default` is log_prob: a one-sample estimate of the bound, its noise keyed by the image's pixels.

    Args:
        flow: a `Flow` on images of at most 256 values.
        folder: where `saved_model.pb`, `variables/` and `assets.extra/` go; other files in it are left alone.
        calibration: of the flow, for p-values.

    Raises:
        InputError: the flow is not one on such images.
        UnsupportedError: Keras runs on another backend than TensorFlow.
        OSError: the folder cannot be written to.
    """
    exported = endpoints(flow, calibration)
    import tensorflow as tf

    # Not by Keras's ExportArchive, which traces every function twice: once to find the weights that it reads.
    module = tf.Module()
    module.all_weights = [weight.value for weight in flow.weights]
    for name, endpoint in exported.items():
        setattr(module, name, tf.function(endpoint.function, endpoint.signature, autograph=False))
    signatures = {name: getattr(module, name) for name in exported}
    try:
        tf.saved_model.save(module, str(folder), {**signatures, "serving_default": module.log_prob})
    except tf.errors.OpError as error:  # of TensorFlow's file system, which has no errno
        raise OSError(f"cannot write a SavedModel to {folder} ({error.message}): is the disk full?") from error

    def one(endpoint: Endpoint) -> dict[str, np.ndarray]:
        return {spec.name: np.zeros((1, *spec.shape[1:]), spec.dtype.as_numpy_dtype) for spec in endpoint.signature}

    requests = {name: one(endpoint) for name, endpoint in exported.items()}
    warmup.write(folder, [("serving_default", requests["log_prob"]), *requests.items()])
