"""The functions of a flow that are exported, with the shapes and dtypes of their inputs."""

import math
from collections.abc import Callable
from typing import NamedTuple

import keras

from tfflows._backend import Tensor
from tfflows.errors import InputError, UnsupportedError
from tfflows.evaluation.calibration import Calibration
from tfflows.export import verdict
from tfflows.flow import Flow, inputs


class Endpoint(NamedTuple):
    """A function of tensors [B, ...] that returns a dict of such tensors, and the `tf.TensorSpec` of its arguments."""

    function: Callable[..., dict[str, Tensor]]
    signature: list


def endpoints(flow: Flow, calibration: Calibration | None = None) -> dict[str, Endpoint]:
    """Returns {name: endpoint}; every endpoint treats each row of the batch by itself and holds no state.

        log_prob   images uint8 [B, H, W, C]               -> log_prob [B] in nats, bits_per_dim [B]
        encode     images uint8 [B, H, W, C]               -> latents [B, *latent_shape]
        decode     latents [B, *latent_shape]              -> images uint8 [B, H, W, C]
        sample     seed int32 [B], temperature float [B]   -> images uint8 [B, H, W, C]

    Where the flow is conditional, each also takes `label` int32 [B], or `condition` float [B, N]. With a calibration
    that a graph can compute (see `export.verdict`) log_prob returns `anomaly_p_value` [B] too.

    Args:
        flow: a `Flow` on images of at most 256 values.
        calibration: of the flow, for p-values.

    Raises:
        InputError: the flow is not one on such images.
        UnsupportedError: Keras runs on another backend than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise UnsupportedError(
            f"Keras runs on {keras.backend.backend()} and models are exported only on TensorFlow: set "
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

    return {
        "log_prob": Endpoint(log_prob, [images, *condition]),
        "encode": Endpoint(encode, [images, *condition]),
        "decode": Endpoint(decode, [latents, *condition]),
        "sample": Endpoint(sample, [seed, temperature, *condition]),
    }
