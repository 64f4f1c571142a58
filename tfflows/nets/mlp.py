"""The multilayer perceptron."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfflows._backend import Shape, Tensor
from tfflows.nets.base import Conditioner


@keras.saving.register_keras_serializable("tfflows")
class MLP(Conditioner):
    """A multilayer perceptron on the last axis: [B, ..., C] -> [B, ..., outputs].

    Args:
        hidden: the widths of the hidden layers.
        outputs: the number of output channels, or None, see `Conditioner`.
        activation: of the hidden layers, as Keras takes it.
        dropout: after each hidden layer.
        **kwargs: Keras's arguments of a layer.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (64, 64),
        outputs: int | None = None,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(outputs, **kwargs)
        self.hidden, self.activation, self.dropout = tuple(hidden), activation, dropout

    def build(self, input_shape: Shape) -> None:
        self._layers_in_order = []
        for width in self.hidden:
            layer = keras.layers.Dense(width, self.activation, kernel_initializer="he_normal", dtype=self.dtype_policy)
            self._layers_in_order.append(layer)
            if self.dropout:
                self._layers_in_order.append(keras.layers.Dropout(self.dropout, dtype=self.dtype_policy))
        self._layers_in_order.append(
            keras.layers.Dense(self.outputs, kernel_initializer="zeros", dtype=self.last_dtype, name="last")
        )
        self.build_all(self._layers_in_order, input_shape)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        for layer in self._layers_in_order:
            x = layer(x, training=training) if isinstance(layer, keras.layers.Dropout) else layer(x)
        return x

    def get_config(self) -> dict[str, Any]:
        config = {"hidden": self.hidden, "activation": self.activation, "dropout": self.dropout}
        return {**super().get_config(), **config}
