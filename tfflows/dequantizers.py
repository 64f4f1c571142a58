"""Dequantization: integer images to real x, with the term it adds to the bound on log p(image).

    log P(image) >= E_{u ~ q(u | image)} [ log p(image + u) - log q(u | image) ]     (Theis et al. 2016; Ho et al. 2019)

Noise comes in as keys [B] (`tfflows.noise`), one for each image.
"""

import math

import keras
from keras import ops

from tfflows._backend import flow_dtype, noise, tfd
from tfflows.errors import InputError
from tfflows.layers.base import sum_event


@keras.saving.register_keras_serializable("tfflows")
class UniformDequantizer(keras.layers.Layer):
    """u uniform on (0, 1) for each value (Uria et al. 2013): log q = 0.

    u has 15 bits, so that image + u is exact in float32 for images of up to 256 values and floor gives the image back.
    """

    def __init__(self, **kwargs):
        kwargs.setdefault("dtype", flow_dtype())
        super().__init__(autocast=False, **kwargs)

    def dequantize(self, images, keys, training=False):
        """x [B, *event_shape] = images + u, and log q(u | image) [B]."""
        shape = tuple(images.shape[1:])
        u = ops.reshape(noise.uniform(keys, math.prod(shape), self.dtype, bits=15), (-1, *shape))
        return ops.cast(images, self.dtype) + u, ops.zeros(ops.shape(u)[:1], self.dtype)


@keras.saving.register_keras_serializable("tfflows")
class VariationalDequantizer(keras.layers.Layer):
    """u from a conditional flow: u = sigmoid(f(epsilon; image)), epsilon standard normal (Ho et al. 2019, section 3.1).

        log q(u | image) = log N(epsilon) - log|det df/d epsilon| - sum log sigmoid'(f)

    Arguments: `transform`, a FlowLayer on [H, W, C] whose condition is the image scaled to [-1/2, 1/2), [B, H, W, C];
    `num_values` of the images.

    Reference: Ho, Chen, Srinivas, Duan and Abbeel 2019, "Flow++", arXiv 1902.00275.
    """

    def __init__(self, transform, num_values=256, **kwargs):
        kwargs.setdefault("dtype", flow_dtype())
        super().__init__(autocast=False, **kwargs)
        self.transform, self.num_values = transform, num_values

    def build(self, event_shape):
        if self.transform.data_dependent or not self.transform.invertible_in_training:
            # They are fitted to the data that reach them in the density direction; this flow runs forward alone.
            raise InputError(
                "VariationalDequantizer takes a transform without data-dependent layers (ActNorm, BatchNorm)."
            )
        if not self.transform.built:
            self.transform.build(event_shape)

    def dequantize(self, images, keys, training=False):
        """x [B, *event_shape] = images + u, and log q(u | image) [B]."""
        epsilon = self._epsilon(images, keys)
        v, log_det = self.transform.forward_and_log_det(epsilon, self._condition(images), training=training)
        log_det = log_det + sum_event(ops.log_sigmoid(v) + ops.log_sigmoid(-v))
        log_q = sum_event(self._normal(epsilon).log_prob(epsilon)) - log_det
        return ops.cast(images, self.dtype) + ops.sigmoid(v), log_q

    def _epsilon(self, images, keys):
        shape = tuple(images.shape[1:])
        uniforms = noise.uniform(keys, math.prod(shape), self.dtype)
        return ops.reshape(self._normal(uniforms).quantile(uniforms), (-1, *shape))

    @staticmethod
    def _normal(like):
        return tfd.Normal(ops.zeros_like(like), ops.ones_like(like))

    def _condition(self, images):
        return ops.cast(images, self.dtype) / self.num_values - 0.5

    def get_config(self):
        transform = keras.saving.serialize_keras_object(self.transform)
        return {**super().get_config(), "transform": transform, "num_values": self.num_values}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "transform": keras.saving.deserialize_keras_object(config["transform"])})
