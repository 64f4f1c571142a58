"""Dequantization: integer images to real x, with the term it adds to the bound on log p(image).

    log P(image) >= E_{u ~ q(u | image)} [ log p(image + u) - log q(u | image) ]     (Theis et al. 2016; Ho et al. 2019)

Noise comes in as keys [B] (`tfflows._backend.noise`), one for each image.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from tfflows._backend import DensityLayer, Shape, Tensor, noise, tfd
from tfflows.errors import InputError
from tfflows.layers.base import FlowLayer, NestedConfig, sum_event


@keras.saving.register_keras_serializable("tfflows")
class UniformDequantizer(DensityLayer):
    """Uniform noise u on (0, 1) for each value (Uria et al. 2013): log q = 0.

    u has 15 bits, so that image + u is exact in float32 for images of up to 256 values and floor gives the image back;
    of more values it is rounded, and stays below image + 1.

    Args:
        **kwargs: Keras's arguments of a layer.
    """

    def dequantize(self, images: Tensor, keys: noise.Key, training: bool = False) -> tuple[Tensor, Tensor]:
        """Returns x = images + u [B, *event_shape] and log q(u | image) [B], for keys [B]."""
        shape = tuple(images.shape[1:])
        u = ops.reshape(noise.uniform(keys, math.prod(shape), self.dtype, bits=15), (-1, *shape))
        return _within(ops.cast(images, self.dtype), u), ops.zeros(ops.shape(u)[:1], self.dtype)


@keras.saving.register_keras_serializable("tfflows")
class VariationalDequantizer(NestedConfig, DensityLayer):
    """Noise from a conditional flow: u = sigmoid(f(epsilon; image)), epsilon standard normal.

        log q(u | image) = log N(epsilon) - log|det df/d epsilon| - sum log sigmoid'(f)

    Args:
        transform: a FlowLayer on [H, W, C] whose condition is the image scaled to [-1/2, 1/2), [B, H, W, C].
        num_values: the number of grey values.
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: in `build`, where `transform` is data-dependent.

    Reference:
        Ho, Chen, Srinivas, Duan and Abbeel 2019, "Flow++", arXiv 1902.00275, section 3.1.
    """

    def __init__(self, transform: FlowLayer, num_values: int = 256, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.transform, self.num_values = transform, num_values

    def build(self, event_shape: Shape) -> None:
        """Builds the transform for [None, *event_shape]."""
        if self.transform.data_dependent or not self.transform.invertible_in_training:
            # They are fitted to data in the density direction, and this flow runs in the other direction alone.
            raise InputError(
                "VariationalDequantizer takes a transform without data-dependent layers (ActNorm, BatchNorm)."
            )
        if not self.transform.built:
            self.transform.build(event_shape)

    def dequantize(self, images: Tensor, keys: noise.Key, training: bool = False) -> tuple[Tensor, Tensor]:
        """Returns x = images + u [B, *event_shape] and log q(u | image) [B], for keys [B]."""
        epsilon = self._epsilon(images, keys)
        v, log_det = self.transform.forward_and_log_det(epsilon, self._condition(images), training=training)
        log_det = log_det + sum_event(ops.log_sigmoid(v) + ops.log_sigmoid(-v))
        log_q = sum_event(self._normal(epsilon).log_prob(epsilon)) - log_det
        return _within(ops.cast(images, self.dtype), ops.sigmoid(v)), log_q

    def _epsilon(self, images: Tensor, keys: noise.Key) -> Tensor:
        shape = tuple(images.shape[1:])
        uniforms = noise.uniform(keys, math.prod(shape), self.dtype)
        return ops.reshape(self._normal(uniforms).quantile(uniforms), (-1, *shape))

    @staticmethod
    def _normal(like: Tensor) -> tfd.Normal:
        return tfd.Normal(ops.zeros_like(like), ops.ones_like(like))

    def _condition(self, images: Tensor) -> Tensor:
        return ops.cast(images, self.dtype) / self.num_values - 0.5

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        transform = keras.saving.serialize_keras_object(self.transform)
        return {**super().get_config(), "transform": transform, "num_values": self.num_values}


def _within(images: Tensor, u: Tensor) -> Tensor:
    """Returns images + u, less than images + 1: rounded up, u near 1 would lead from the highest value out of range."""
    below_one = 1 - np.finfo(keras.backend.standardize_dtype(images.dtype)).epsneg
    return ops.minimum(images + u, (images + 1) * below_one)
