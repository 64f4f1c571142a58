"""The autoregressive layer."""

import keras
from keras import ops

from tfflows import transformers
from tfflows.errors import InputError
from tfflows.layers.base import FlowLayer, sum_event


@keras.saving.register_keras_serializable("tfflows")
class Autoregressive(FlowLayer):
    """Transforms each dimension with parameters that a network computes from the dimensions before it.

        z_i = f^-1(x_i; theta_i(x_1 .. x_(i-1))),   log|det dz/dx| = sum_i log|d f^-1 / dx_i|

    x, z [B, n]. With f affine this is MAF's layer (equations 3-5); `Invert` of it is IAF's. The density direction is
    one pass of the network, and so is sampling but for the order of the sums: see `MADE.solve`.

    Arguments: `conditioner`, a `MADE`, whose `outputs` are set; `transformer`, "affine" (here with the log-scale
    clamped), "additive" or a `Transformer`.

    Reference: Papamakarios, Pavlakou and Murray 2017, "Masked autoregressive flow for density estimation",
    arXiv 1705.07057, section 3.
    """

    def __init__(self, conditioner, transformer="affine", **kwargs):
        super().__init__(**kwargs)
        self.conditioner = conditioner
        self.transformer = transformers.Affine("clamp") if transformer == "affine" else transformers.get(transformer)

    @property
    def condition_size(self):
        return self.conditioner.condition_size

    def build(self, input_shape):
        if len(input_shape) != 2:
            raise InputError(
                f"Autoregressive takes x [B, n] and got shape {tuple(input_shape)}: put Flatten before it."
            )
        if not self.conditioner.built:
            self.conditioner.outputs = self.transformer.num_parameters * input_shape[-1]
            self.conditioner.build(input_shape)
        if not self.transformer.built:
            self.transformer.build(tuple(input_shape[1:]))

    def inverse_and_log_det(self, x, condition=None, training=False):
        outputs = self.conditioner(x, condition=condition, training=training)
        bijector = self.transformer.bijector(ops.reshape(outputs, (-1, self.conditioner.outputs)))
        z = bijector.inverse(x)
        return z, sum_event(ops.broadcast_to(bijector.inverse_log_det_jacobian(x, event_ndims=0), ops.shape(x)))

    def forward_and_log_det(self, z, condition=None, training=False):
        def element(z, outputs):
            bijector = self.transformer.bijector(outputs)
            x = bijector.forward(z)
            return x, ops.broadcast_to(bijector.forward_log_det_jacobian(z, event_ndims=0), ops.shape(z))

        x, log_det = self.conditioner.solve(z, element, condition)
        return x, sum_event(log_det)

    def get_config(self):
        parts = ("conditioner", "transformer")
        config = {part: keras.saving.serialize_keras_object(getattr(self, part)) for part in parts}
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config):
        parts = {key: keras.saving.deserialize_keras_object(config[key]) for key in ("conditioner", "transformer")}
        return cls(**{**config, **parts})
