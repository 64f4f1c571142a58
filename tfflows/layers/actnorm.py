"""Activation normalisation."""

import math

import keras
from keras import ops

from tfflows._backend import Shape, Tensor
from tfflows.layers.base import FlowLayer, per_example


def log_deviation(variance: Tensor) -> Tensor:
    """Returns the logarithm of the standard deviation, and 0 where the variance is that of a constant."""
    return 0.5 * ops.log(ops.where(variance < 1e-12, ops.ones_like(variance), variance))


@keras.saving.register_keras_serializable("tfflows")
class ActNorm(FlowLayer):
    """A scale and a shift for each channel, set so that z has mean 0 and variance 1 on the first batch.

        x = exp(log_scale) z + shift,   log|det dx/dz| = (number of pixels) sum_c log_scale_c

    x, z [B, ..., C]. It is the identity until `initialize`; afterwards both are weights like any others.
    `Flow.adapt` runs `initialize` once, outside any graph, and remembers it in a saved weight. A channel that is
    constant on the first batch keeps its scale.

    The released code multiplies the logarithm of the scale by 3, which only makes it learn faster; the paper does not,
    and this layer follows the paper.

    Args:
        **kwargs: Keras's arguments of a layer.

    Reference:
        Kingma and Dhariwal 2018, "Glow: generative flow with invertible 1x1 convolutions", arXiv 1807.03039,
        section 3.1.
    """

    data_dependent = True

    def build(self, input_shape: Shape) -> None:
        self.shift = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="shift")
        self.log_scale = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="log_scale")

    # Not a TFP bijector, which takes twice as many operations: Glow has three of these in each step.

    def forward_and_log_det(
        self, z: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        return z * ops.exp(self.log_scale) + self.shift, self._log_det(z)

    def inverse_and_log_det(
        self, x: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        return (x - self.shift) * ops.exp(-self.log_scale), -self._log_det(x)

    def inverse_and_local_log_det(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.inverse_and_log_det(x)[0], ops.broadcast_to(-self.log_scale, ops.shape(x))

    def _log_det(self, x: Tensor) -> Tensor:
        return per_example(math.prod(x.shape[1:-1]) * ops.sum(self.log_scale), x)

    def initialize(self, x: Tensor, condition: Tensor | None = None) -> None:
        if not self.trainable:
            return
        mean, variance = ops.moments(x, axes=tuple(range(len(x.shape) - 1)))
        self.shift.assign(mean)
        self.log_scale.assign(log_deviation(variance))
