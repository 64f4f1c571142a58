"""Learned elementwise or channelwise affine maps without data-dependent initialisation."""

import keras
from keras import ops

from tfflows._backend import tfb
from tfflows.layers.base import BijectorLayer


@keras.saving.register_keras_serializable("tfflows")
class DiagonalScale(BijectorLayer):
    """NICE's last layer: z = exp(-log_scale) * x, one log_scale for each dimension.

    x, z [B, *event_shape]; log|det dz/dx| = -sum(log_scale). Dinh et al. write z = exp(s) x, so s = -log_scale.

    Reference: Dinh, Krueger and Bengio 2015, "NICE: non-linear independent components estimation", arXiv 1410.8516,
    section 3.3.
    """

    def build(self, input_shape):
        self.log_scale = self.add_weight(shape=tuple(input_shape[1:]), initializer="zeros", name="log_scale")

    def bijector(self):
        return tfb.Scale(log_scale=ops.convert_to_tensor(self.log_scale))
