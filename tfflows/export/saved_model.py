"""Writes a flow as a SavedModel, for TensorFlow Serving and other programs that load TensorFlow's format."""

import math
from pathlib import Path

import keras
import numpy as np

from tfflows._backend import Tensor
from tfflows.errors import InputError, UnsupportedError
from tfflows.evaluation.calibration import Calibration
from tfflows.export import verdict, warmup
from tfflows.flow import Flow, inputs


def export(flow: Flow, folder: str | Path, calibration: Calibration | None = None) -> None:
    """Writes a SavedModel that needs TensorFlow alone: no tfflows, no Keras, no Python.

    Every endpoint takes and returns a dict of tensors with the batch as first dimension and holds no state:
    one image gives one number and one seed gives one image, whatever the batch that it comes in.

        log_prob   images uint8 [B, H, W, C]               -> log_prob [B] in nats, bits_per_dim [B]
        encode     images uint8 [B, H, W, C]               -> latents [B, *latent_shape]
        decode     latents [B, *latent_shape]              -> images uint8 [B, H, W, C]
        sample     seed int32 [B], temperature float [B]   -> images uint8 [B, H, W, C]

    `serving_default` is log_prob: a one-sample estimate of the bound, its noise keyed by the image's pixels. With a
    calibration that a graph can compute (see `export.verdict`) it returns `anomaly_p_value` [B] too.
    Where the flow is conditional, each also takes `label` int32 [B], or `condition` float [B, N].

    Args:
        flow: a `Flow` on images of at most 256 values.
        folder: where `saved_model.pb`, `variables/` and `assets.extra/` go; other files in it are left alone.
        calibration: of the flow, for p-values.

    Raises:
        InputError: the flow is not one on such images.
        UnsupportedError: Keras runs on another backend than TensorFlow.
        OSError: the folder cannot be written to.
    """
    if keras.backend.backend() != "tensorflow":
        raise UnsupportedError(
            f"Keras runs on {keras.backend.backend()} and writes a SavedModel only on TensorFlow: set "
            "KERAS_BACKEND=tensorflow"
        )
    if flow.num_values is None or flow.num_values > 256:
        raise InputError(f"a flow with num_values={flow.num_values} cannot be exported: at most 256 fit in uint8")
    import tensorflow as tf

    images = tf.TensorSpec((None, *flow.event_shape), tf.uint8, "images")
    latents = tf.TensorSpec((None, *flow.latent_shape), flow.dtype, "latents")
    seed = tf.TensorSpec((None,), tf.int32, "seed")
    temperature = tf.TensorSpec((None,), tf.float32, "temperature")
    if flow.num_classes:
        condition = [tf.TensorSpec((None,), tf.int32, "label")]
    elif flow.condition_size:
        condition = [tf.TensorSpec((None, flow.condition_size), tf.float32, "condition")]
    else:
        condition = []
    nats_per_bit_per_dim = math.prod(flow.event_shape) * math.log(2.0)

    def log_prob(images: Tensor, condition: Tensor | None = None) -> dict[str, Tensor]:
        value = flow.log_prob(images, condition)
        p_value = verdict.p_value(calibration, value) if verdict.in_graph(calibration) else {}
        return {"log_prob": value, "bits_per_dim": -value / nats_per_bit_per_dim, **p_value}

    def encode(images: Tensor, condition: Tensor | None = None) -> dict[str, Tensor]:
        return {"latents": flow.encode(images, condition)}

    def decode(latents: Tensor, condition: Tensor | None = None) -> dict[str, Tensor]:
        return {"images": flow.decode(latents, condition)}

    def sample(seed: Tensor, temperature: Tensor, condition: Tensor | None = None) -> dict[str, Tensor]:
        condition = inputs.check_condition(flow, condition, None)
        return {"images": flow.sample_from_seeds(seed, temperature, condition)}

    endpoints = {  # the first is serving_default too
        log_prob: [images, *condition],
        encode: [images, *condition],
        decode: [latents, *condition],
        sample: [seed, temperature, *condition],
    }
    # Without `archive.track(flow)`, which writes every weight twice: those that the endpoints read are saved.
    archive = keras.export.ExportArchive()
    for endpoint, signature in endpoints.items():
        archive.add_endpoint(endpoint.__name__, endpoint, signature)
    try:
        archive.write_out(str(folder), verbose=False)
    except tf.errors.OpError as error:  # of TensorFlow's file system, which has no errno
        raise OSError(f"cannot write a SavedModel to {folder} ({error.message}): is the disk full?") from error

    def one(signature: list[tf.TensorSpec]) -> dict[str, np.ndarray]:
        return {spec.name: np.zeros((1, *spec.shape[1:]), spec.dtype.as_numpy_dtype) for spec in signature}

    requests = {endpoint.__name__: one(signature) for endpoint, signature in endpoints.items()}
    warmup.write(folder, [("serving_default", requests["log_prob"]), *requests.items()])
