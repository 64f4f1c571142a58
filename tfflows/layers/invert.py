"""A flow layer with its two directions exchanged."""

from typing import Any

import keras

from tfflows._backend import Shape, Tensor
from tfflows.errors import InputError
from tfflows.layers.base import FlowLayer


@keras.saving.register_keras_serializable("tfflows")
class Invert(FlowLayer):
    """Exchanges the two directions of a flow layer that keeps the shape: its inverse is the layer's forward.

    x, z [B, *event]. `Invert(Autoregressive(...))` is the layer of inverse autoregressive flow, which samples in one
    pass of its network (Kingma et al. 2016, arXiv 1606.04934).

    Args:
        layer: the flow layer.
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: in `build`, where the layer's latent shape differs from that of x, or where it is data-dependent.
    """

    def __init__(self, layer: FlowLayer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, input_shape: Shape) -> None:
        shape = tuple(input_shape[1:])
        if self.layer.latent_shape(shape) != shape:
            raise InputError(
                f"Invert takes a layer that keeps the shape, and {type(self.layer).__name__} maps {shape} to "
                f"{self.layer.latent_shape(shape)}: invert the layers around it instead."
            )
        if self.layer.data_dependent or not self.layer.invertible_in_training:
            raise InputError(
                f"Invert cannot exchange the directions of {type(self.layer).__name__}: what is fitted to the data "
                "that reach it (ActNorm, BatchNorm) is fitted in the density direction alone; put it outside of Invert."
            )
        if not self.layer.built:
            self.layer.build(input_shape)

    @property
    def condition_size(self) -> int:
        return self.layer.condition_size

    def forward_and_log_det(
        self, z: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        return self.layer.inverse_and_log_det(z, condition=condition, training=training)

    def inverse_and_log_det(
        self, x: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        return self.layer.forward_and_log_det(x, condition=condition, training=training)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}
