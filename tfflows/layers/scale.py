"""Learned elementwise or channelwise affine maps."""

from typing import Any

import keras
from keras import ops

from tfflows._backend import Shape, Tensor, tfb
from tfflows.layers.actnorm import log_deviation
from tfflows.layers.base import BijectorLayer, FlowLayer, sum_event
from tfflows.layers.coupling import spread


@keras.saving.register_keras_serializable("tfflows")
class DiagonalScale(BijectorLayer):
    """NICE's last layer: z = exp(-log_scale) * x, one log_scale for each dimension.

    x, z [B, *event_shape]; log|det dz/dx| = -sum(log_scale). Dinh et al. write z = exp(s) x: s = -log_scale. They start
    at s = 0; here `initialize` makes the variance of z 1 on the first batch, as in ActNorm: the pixels that are
    almost always black have s = 7, which Adam would take thousands of steps to reach.

    Args:
        **kwargs: Keras's arguments of a layer.

    Reference:
        Dinh, Krueger and Bengio 2015, "NICE: non-linear independent components estimation", arXiv 1410.8516,
        section 3.3.
    """

    data_dependent = True

    def build(self, input_shape: Shape) -> None:
        self.log_scale = self.add_weight(shape=tuple(input_shape[1:]), initializer="zeros", name="log_scale")

    def initialize(self, x: Tensor, condition: Tensor | None = None) -> None:
        if self.trainable:
            self.log_scale.assign(log_deviation(ops.var(x, axis=0)))

    def bijector(self) -> tfb.Bijector:
        return tfb.Scale(log_scale=ops.convert_to_tensor(self.log_scale))


@keras.saving.register_keras_serializable("tfflows")
class ChannelAffine(FlowLayer):
    """A learned scale and shift for each channel, which may depend on the condition.

        x = exp(log_scale) z + shift,   (shift, log_scale) = bias + condition kernel

    x, z [B, ..., C], condition [B, N]. With z standard normal, x is normal with a learned mean and variance
    for each channel (and class, for a one-hot condition), as at Glow's top level. Starts as the identity.

    Args:
        condition_size: N, or 0.
        **kwargs: Keras's arguments of a layer.

    Reference:
        Kingma and Dhariwal 2018, arXiv 1807.03039, released code (`learntop`, `ycond`).
    """

    def __init__(self, condition_size: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.condition_size = condition_size

    def build(self, input_shape: Shape) -> None:
        outputs = 2 * input_shape[-1]
        self.bias = self.add_weight(shape=(outputs,), initializer="zeros", name="bias")
        if self.condition_size:
            shape = (self.condition_size, outputs)
            self.kernel = self.add_weight(shape=shape, initializer="zeros", name="kernel")

    def forward_and_log_det(
        self, z: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._parameters(z, condition)
        return ops.exp(log_scale) * z + shift, sum_event(log_scale)

    def inverse_and_log_det(
        self, x: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._parameters(x, condition)
        return ops.exp(-log_scale) * (x - shift), -sum_event(log_scale)

    def inverse_and_local_log_det(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.inverse_and_log_det(x, condition)[0], -self._parameters(x, condition)[1]

    def _parameters(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns shift and log_scale, both of the shape of x."""
        parameters = ops.convert_to_tensor(self.bias)
        if self.condition_size:
            parameters = parameters + ops.tensordot(spread(condition, x), self.kernel, axes=1)
        parameters = ops.broadcast_to(parameters, (*ops.shape(x)[:-1], self.bias.shape[0]))
        return ops.split(parameters, 2, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "condition_size": self.condition_size}
