"""The multilayer perceptron."""

import keras

from tfflows.nets.base import Conditioner


@keras.saving.register_keras_serializable("tfflows")
class MLP(Conditioner):
    """A multilayer perceptron on the last axis: [B, ..., C] -> [B, ..., outputs].

    Arguments: `hidden`, the widths of the hidden layers; `activation`; `dropout`, a rate after each hidden layer.
    """

    def __init__(self, hidden=(64, 64), outputs=None, activation="relu", dropout=0.0, **kwargs):
        super().__init__(outputs, **kwargs)
        self.hidden, self.activation, self.dropout = tuple(hidden), activation, dropout

    def build(self, input_shape):
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

    def call(self, x, training=False):
        for layer in self._layers_in_order:
            x = layer(x, training=training) if isinstance(layer, keras.layers.Dropout) else layer(x)
        return x

    def get_config(self):
        config = {"hidden": self.hidden, "activation": self.activation, "dropout": self.dropout}
        return {**super().get_config(), **config}
