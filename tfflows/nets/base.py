"""The contract of conditioners."""

from collections.abc import Iterable
from typing import Any

import keras

from tfflows._backend import Shape, Tensor
from tfflows.errors import InputError


class Conditioner(keras.layers.Layer):
    """The base of the networks inside flow layers: [B, ..., C] -> [B, ..., outputs].

    Args:
        outputs: the number of output channels; None leaves it to the flow layer that owns the network.
        **kwargs: Keras's arguments of a layer.

    Attributes:
        data_dependent: True where `initialize` sets weights.
    """

    data_dependent = False

    def __init__(self, outputs: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.outputs = outputs

    def build_for(self, shape: Shape, outputs: int) -> None:
        """Builds the network, unless it is built, with `outputs` output channels.

        Args:
            shape: of the inputs, with the batch.
            outputs: the number of channels that the flow layer needs.

        Raises:
            InputError: the network has another number of outputs.
        """
        if self.outputs is None:
            self.outputs = outputs
        if self.outputs != outputs:
            raise InputError(
                f"{type(self).__name__} returns {self.outputs} channels: {outputs} are needed here; leave out `outputs`"
                ", and give each flow layer a network of its own."
            )
        if not self.built:
            self.build(shape)

    @property
    def last_dtype(self) -> str:
        """The dtype of what the flow layer gets: float32, or float64 where this network has it."""
        return "float64" if self.variable_dtype == "float64" else "float32"

    def initialize(self, x: Tensor) -> None:
        """Sets data-dependent weights from one batch of inputs; by default it does nothing."""

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        """Returns the shape of the outputs."""
        return (*input_shape[:-1], self.outputs)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "outputs": self.outputs}

    def build_all(self, layers: Iterable[keras.layers.Layer], shape: Shape) -> None:
        """Builds `layers` in sequence for inputs of `shape`."""
        for layer in layers:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
