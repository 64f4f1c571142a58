"""Activation normalisation."""

import math

import keras
from keras import ops

from tfflows.layers.base import FlowLayer, per_example


@keras.saving.register_keras_serializable("tfflows")
class ActNorm(FlowLayer):
    """A scale and a shift for each channel, set so that z has mean 0 and variance 1 on the first batch.

        x = exp(log_scale) z + shift,   log|det dx/dz| = (number of pixels) sum_c log_scale_c

    x, z [B, ..., C]. The identity until `initialize`; afterwards both are weights like any others.
    `Flow.adapt` runs `initialize` once, outside of any graph, and remembers it in a saved weight. A channel
    that is constant on the first batch keeps its scale.

    The released code multiplies the logarithm of the scale by 3, which only makes it learn faster; the paper
    does not, and this layer follows the paper.

    Reference: Kingma and Dhariwal 2018, "Glow: generative flow with invertible 1x1 convolutions", arXiv
    1807.03039, section 3.1.
    """

    data_dependent = True

    def build(self, input_shape):
        self.shift = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="shift")
        self.log_scale = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="log_scale")

    # Written out: as a TFP bijector, of which Glow has three in each step, it takes twice as many operations.

    def forward_and_log_det(self, z, condition=None, training=False):
        return z * ops.exp(self.log_scale) + self.shift, self._log_det(z)

    def inverse_and_log_det(self, x, condition=None, training=False):
        return (x - self.shift) * ops.exp(-self.log_scale), -self._log_det(x)

    def _log_det(self, x):
        return per_example(math.prod(x.shape[1:-1]) * ops.sum(self.log_scale), x)

    def initialize(self, x, condition=None):
        mean, variance = ops.moments(x, axes=tuple(range(len(x.shape) - 1)))
        constant = variance < 1e-12
        self.shift.assign(mean)
        self.log_scale.assign(0.5 * ops.log(ops.where(constant, ops.ones_like(variance), variance)))
