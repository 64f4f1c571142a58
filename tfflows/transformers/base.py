"""The contract of transformers.

A transformer for n elements takes a conditioner's output [B, ..., num_parameters * n], parameter-major, and returns a
scalar TFP bijector z -> x on [B, ..., n].
"""

import keras
from keras import ops

from tfflows._backend import flow_dtype


class Transformer(keras.layers.Layer):
    """The base of transformers: `num_parameters` for each element, and `bijector(outputs)`."""

    num_parameters = None

    def __init__(self, **kwargs):
        kwargs.setdefault("dtype", flow_dtype())
        super().__init__(autocast=False, **kwargs)

    def build(self, event_shape):
        """Makes weights for elements of `event_shape` (no batch)."""

    def bijector(self, outputs):
        raise NotImplementedError(f"{type(self).__name__} does not implement bijector")


def parameters_last(outputs, num_parameters):
    """[B, ..., P n], parameter-major, as [B, ..., n, P]."""
    shape = ops.shape(outputs)
    outputs = ops.reshape(outputs, (*shape[:-1], num_parameters, outputs.shape[-1] // num_parameters))
    return ops.swapaxes(outputs, -1, -2)
