"""The contract of conditioners."""

import keras


class Conditioner(keras.layers.Layer):
    """The base of conditioners: `outputs` channels from inputs [B, ..., C]."""

    data_dependent = False

    def __init__(self, outputs=None, **kwargs):
        super().__init__(**kwargs)
        self.outputs = outputs

    @property
    def last_dtype(self):
        """The dtype of what the flow layer gets: float32, or float64 where this network has it."""
        return "float64" if self.variable_dtype == "float64" else "float32"

    def initialize(self, x):
        """Sets data-dependent weights from one batch of inputs; no effect here."""

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.outputs)

    def get_config(self):
        return {**super().get_config(), "outputs": self.outputs}

    def build_all(self, layers, shape):
        """Builds `layers` in sequence for inputs of `shape`."""
        for layer in layers:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
