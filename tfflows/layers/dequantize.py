"""Dequantization: integer images to real x, with the term it adds to the bound on log p(image).

    log P(image) >= E_{u ~ q(u | image)} [ log p(image + u) - log q(u | image) ]     (Theis et al. 2016; Ho et al. 2019)

Noise comes in as keys [B] (`tfflows.noise`), one for each image.
"""

import math

import keras
from keras import ops

from tfflows import noise
from tfflows._backend import flow_dtype


@keras.saving.register_keras_serializable("tfflows")
class UniformDequantizer(keras.layers.Layer):
    """u uniform on (0, 1) for each value (Uria et al. 2013): log q = 0.

    u has 15 bits, so that image + u is exact in float32 for images of up to 256 values and floor gives the image back.
    """

    data_dependent = False

    def __init__(self, **kwargs):
        kwargs.setdefault("dtype", flow_dtype())
        super().__init__(autocast=False, **kwargs)

    def dequantize(self, images, keys, training=False):
        """x [B, *event_shape] = images + u, and log q(u | image) [B]."""
        shape = tuple(images.shape[1:])
        u = ops.reshape(noise.uniform(keys, math.prod(shape), self.dtype, bits=15), (-1, *shape))
        return ops.cast(images, self.dtype) + u, ops.zeros(ops.shape(u)[:1], self.dtype)
