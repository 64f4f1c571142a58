"""Batch normalisation as a flow layer."""

import math
from typing import Any

import keras
from keras import ops

from tfflows._backend import Shape, Tensor
from tfflows.layers.base import FlowLayer, per_example


@keras.saving.register_keras_serializable("tfflows")
class BatchNorm(FlowLayer):
    """Normalises each channel: z = exp(gamma) (x - m) / sqrt(v + epsilon) + beta.

    x, z [B, ..., C]; m, v [C] are the batch's mean and variance over all axes but the last in training, and in
    evaluation and sampling their running averages, or those over training images that `Flow.update_statistics` puts in
    their place. log|det dz/dx| = pixels sum_c(gamma - log(v + epsilon) / 2); as in both papers the dependence of m and
    v on the batch is not part of the determinant.

    Sampling (`forward_and_log_det`) always uses the running averages. With `trainable=False` training uses them too
    and does not update them, as Keras's own batch normalisation.

    Args:
        learned: whether gamma and beta are learned, as in Papamakarios et al. 2017; else they are 0, as in Dinh et al.
        momentum: of the running averages.
        epsilon: added to the variance.
        **kwargs: Keras's arguments of a layer.

    Reference:
        Dinh, Sohl-Dickstein and Bengio 2017, arXiv 1605.08803, appendix E; Papamakarios, Pavlakou and Murray 2017,
        arXiv 1705.07057, appendix B.
    """

    def __init__(self, learned: bool = False, momentum: float = 0.95, epsilon: float = 1e-4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.learned, self.momentum, self.epsilon = learned, momentum, epsilon

    @property
    def invertible_in_training(self) -> bool:
        """False, since z does not determine the batch's statistics, unless the layer is frozen."""
        return not self.trainable

    def build(self, input_shape: Shape) -> None:
        """Makes the running averages and, where they are learned, gamma and beta."""
        shape = (input_shape[-1],)
        self.mean = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="mean")
        self.log_variance = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="log_variance")
        if self.learned:
            self.gamma = self.add_weight(shape=shape, initializer="zeros", name="gamma")
            self.beta = self.add_weight(shape=shape, initializer="zeros", name="beta")

    def forward_and_log_det(
        self, z: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Returns x and log|det dx/dz|, see `FlowLayer`."""
        mean, log_scale, beta = self._affine(ops.convert_to_tensor(self.mean), ops.exp(self.log_variance))
        return (z - beta) * ops.exp(log_scale) + mean, self._log_det(log_scale, z)

    def inverse_and_log_det(
        self, x: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Returns z and log|det dz/dx|, see `FlowLayer`; in training it updates the running averages."""
        mean, variance = ops.convert_to_tensor(self.mean), ops.exp(self.log_variance)
        if training and self.trainable:
            some = ops.size(x) > 0  # a device has no image where the last batch is smaller than the number of devices
            moments = ops.moments(x, axes=tuple(range(len(x.shape) - 1)))
            mean, variance = (ops.where(some, new, old) for new, old in zip(moments, (mean, variance), strict=True))
            self._update(mean, variance)
        mean, log_scale, beta = self._affine(mean, variance)
        return (x - mean) * ops.exp(-log_scale) + beta, self._log_det(-log_scale, x)

    def inverse_and_local_log_det(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns z and parts [B, *event_shape] of the log-determinant, see `FlowLayer`."""
        _, log_scale, _ = self._affine(ops.convert_to_tensor(self.mean), ops.exp(self.log_variance))
        return self.inverse_and_log_det(x)[0], ops.broadcast_to(-log_scale, ops.shape(x))

    def _affine(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the mean, the logarithm of the scale and beta, each [C]."""
        log_scale = 0.5 * ops.log(variance + self.epsilon)
        if not self.learned:
            return mean, log_scale, ops.zeros_like(log_scale)
        return mean, log_scale - self.gamma, ops.convert_to_tensor(self.beta)

    def _log_det(self, log_scale: Tensor, x: Tensor) -> Tensor:
        return per_example(math.prod(x.shape[1:-1]) * ops.sum(log_scale), x)

    def set_statistics(self, mean: Tensor, variance: Tensor) -> None:
        """Assigns the mean [C] and variance [C] that evaluation and sampling use, see `Flow.update_statistics`."""
        self.mean.assign(mean)
        # Stored as a logarithm so that every value of the weight is a valid variance.
        self.log_variance.assign(ops.log(variance + 1e-12))

    def _update(self, mean: Tensor, variance: Tensor) -> None:
        keep = self.momentum
        variance = keep * ops.exp(self.log_variance) + (1 - keep) * ops.stop_gradient(variance)
        self.set_statistics(keep * self.mean + (1 - keep) * ops.stop_gradient(mean), variance)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = {"learned": self.learned, "momentum": self.momentum, "epsilon": self.epsilon}
        return {**super().get_config(), **config}
