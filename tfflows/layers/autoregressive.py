"""The autoregressive layer."""

from typing import Any

import keras
from keras import ops

from tfflows import transformers
from tfflows._backend import Shape, Tensor
from tfflows.errors import InputError
from tfflows.layers.base import FlowLayer, sum_event


@keras.saving.register_keras_serializable("tfflows")
class Autoregressive(FlowLayer):
    """Transforms each dimension with parameters that a network computes from the dimensions before it.

        z_i = f^-1(x_i; theta_i(x_1 .. x_(i-1))),   log|det dz/dx| = sum_i log|d f^-1 / dx_i|

    x, z [B, n]. With f affine this is MAF's layer (equations 3-5); `Invert` of it is IAF's. The density direction is
    one pass of the network; sampling costs about as much arithmetic, in sequence: see the network's `solve`.

    Args:
        conditioner: a `MADE` or a `PixelCNN`.
        transformer: "affine" (here with the log-scale clamped), "additive", "spline" or a `Transformer`.
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: x is not [B, n], or the conditioner is not autoregressive.

    Reference:
        Papamakarios, Pavlakou and Murray 2017, "Masked autoregressive flow for density estimation",
        arXiv 1705.07057, section 3.
    """

    def __init__(
        self, conditioner: keras.layers.Layer, transformer: str | transformers.Transformer = "affine", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not hasattr(conditioner, "solve"):
            raise InputError(
                f"Autoregressive got a {type(conditioner).__name__}, whose outputs read all of x: it takes a MADE or a "
                "PixelCNN."
            )
        self.conditioner = conditioner
        self.transformer = transformers.Affine("clamp") if transformer == "affine" else transformers.get(transformer)

    @property
    def condition_size(self) -> int:
        return self.conditioner.condition_size

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) != 2:
            raise InputError(
                f"Autoregressive takes x [B, n] and got shape {tuple(input_shape)}: put Flatten before it."
            )
        self.conditioner.build_for(input_shape, self.transformer.num_parameters * input_shape[-1])
        if not self.transformer.built:
            self.transformer.build(tuple(input_shape[1:]))

    def inverse_and_log_det(
        self, x: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        z, log_det = self._inverse(x, condition, training)
        return z, sum_event(log_det)

    def inverse_and_local_log_det(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._inverse(x, condition)

    def _inverse(self, x: Tensor, condition: Tensor | None, training: bool = False) -> tuple[Tensor, Tensor]:
        """Returns z and log|dz_i/dx_i|, both [B, n]."""
        outputs = self.conditioner(x, condition=condition, training=training)
        bijector = self.transformer.bijector(ops.reshape(outputs, (-1, self.conditioner.outputs)))
        log_det = ops.broadcast_to(bijector.inverse_log_det_jacobian(x, event_ndims=0), ops.shape(x))
        return bijector.inverse(x), log_det

    def forward_and_log_det(
        self, z: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        def element(z: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
            bijector = self.transformer.bijector(outputs)
            x = bijector.forward(z)
            return x, ops.broadcast_to(bijector.forward_log_det_jacobian(z, event_ndims=0), ops.shape(z))

        x, log_det = self.conditioner.solve(z, element, condition)
        return x, sum_event(log_det)

    def get_config(self) -> dict[str, Any]:
        parts = ("conditioner", "transformer")
        config = {part: keras.saving.serialize_keras_object(getattr(self, part)) for part in parts}
        return {**super().get_config(), **config}
