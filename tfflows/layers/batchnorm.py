"""Batch normalisation as a flow layer."""

import math

import keras
from keras import ops

from tfflows.layers.base import FlowLayer


@keras.saving.register_keras_serializable("tfflows")
class BatchNorm(FlowLayer):
    """Normalises each channel: z = exp(gamma) (x - m) / sqrt(v + epsilon) + beta.

    x, z [B, ..., C]; m, v [C] are the batch's mean and variance over all axes but the last in training, and their
    running averages in evaluation and sampling. log|det dz/dx| = pixels sum_c(gamma - log(v + epsilon) / 2); as
    in both papers the dependence of m and v on the batch is not part of the determinant.

    Arguments: `learned`, whether gamma and beta are (Papamakarios et al. 2017, appendix B; Dinh et al. 2017,
    appendix E, have neither); `momentum` of the running averages; `epsilon`.
    Sampling (`forward_and_log_det`) always uses the running averages.
    """

    invertible_in_training = False

    def __init__(self, learned=False, momentum=0.95, epsilon=1e-4, **kwargs):
        super().__init__(**kwargs)
        self.learned, self.momentum, self.epsilon = learned, momentum, epsilon

    def build(self, input_shape):
        shape = (input_shape[-1],)
        self.mean = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="mean")
        self.log_variance = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="log_variance")
        if self.learned:
            self.gamma = self.add_weight(shape=shape, initializer="zeros", name="gamma")
            self.beta = self.add_weight(shape=shape, initializer="zeros", name="beta")

    def forward_and_log_det(self, z, condition=None, training=False):
        mean, log_scale, beta = self._affine(ops.convert_to_tensor(self.mean), ops.exp(self.log_variance))
        return (z - beta) * ops.exp(log_scale) + mean, self._log_det(log_scale, z)

    def inverse_and_log_det(self, x, condition=None, training=False):
        if training:
            mean, variance = ops.moments(x, axes=tuple(range(len(x.shape) - 1)))
            self._update(mean, variance)
        else:
            mean, variance = ops.convert_to_tensor(self.mean), ops.exp(self.log_variance)
        mean, log_scale, beta = self._affine(mean, variance)
        return (x - mean) * ops.exp(-log_scale) + beta, self._log_det(-log_scale, x)

    def _affine(self, mean, variance):
        log_scale = 0.5 * ops.log(variance + self.epsilon)
        if not self.learned:
            return mean, log_scale, ops.zeros_like(log_scale)
        return mean, log_scale - self.gamma, ops.convert_to_tensor(self.beta)

    def _log_det(self, log_scale, x):
        pixels = math.prod(x.shape[1:-1])
        return ops.broadcast_to(pixels * ops.sum(log_scale), ops.shape(x)[:1])

    def _update(self, mean, variance):
        # Stored as a logarithm so that every value of the weight is a valid variance.
        keep = self.momentum
        variance = keep * ops.exp(self.log_variance) + (1 - keep) * ops.stop_gradient(variance)
        self.mean.assign(keep * self.mean + (1 - keep) * ops.stop_gradient(mean))
        self.log_variance.assign(ops.log(variance + 1e-12))

    def get_config(self):
        config = {"learned": self.learned, "momentum": self.momentum, "epsilon": self.epsilon}
        return {**super().get_config(), **config}
