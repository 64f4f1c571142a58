"""Elementwise bijections whose parameters a conditioner computes: the inner part of couplings and autoregressive layers.

A transformer for n elements takes a conditioner's output [B, ..., num_parameters * n], parameter-major, and returns a
scalar TFP bijector z -> x on [B, ..., n].
"""

import keras
import numpy as np
from keras import ops

from tfflows._backend import flow_dtype, tfb


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


@keras.saving.register_keras_serializable("tfflows")
class Additive(Transformer):
    """x = z + shift (Dinh et al. 2015, section 3.2): volume-preserving."""

    num_parameters = 1

    def bijector(self, outputs):
        return tfb.Shift(outputs)


@keras.saving.register_keras_serializable("tfflows")
class Affine(Transformer):
    """x = exp(log_scale) z + shift, with a bounded log_scale so that neither direction explodes.

    For the conditioner's outputs (shift, h), `scale` chooses
      "tanh"     log_scale = a tanh(h), a learned for each channel (Dinh et al. 2017, section 4.1), |a| < `bound`;
      "sigmoid"  exp(-log_scale) = floor + (1 - floor) sigmoid(h + 2), floor = exp(-bound): the scale of the density
                 direction in Glow's released code, with a floor where the code has none;
      "clamp"    log_scale = bound tanh(h / bound): nearly free (Papamakarios et al. 2017 leave it free).
    The papers of RealNVP and Glow write the density direction z = exp(s) x + t: the same family with
    s = -log_scale, t = -exp(-log_scale) shift.
    """

    num_parameters = 2

    def __init__(self, scale="tanh", bound=5.0, **kwargs):
        super().__init__(**kwargs)
        if scale not in ("tanh", "sigmoid", "clamp"):
            raise ValueError(f"Affine got scale={scale!r}: use 'tanh', 'sigmoid' or 'clamp'.")
        self.scale, self.bound = scale, bound

    def build(self, event_shape):
        if self.scale == "tanh":
            self.factor = self.add_weight(shape=(event_shape[-1],), initializer="ones", name="factor")

    def bijector(self, outputs):
        shift, h = ops.split(outputs, 2, axis=-1)
        if self.scale == "tanh":
            log_scale = self.bound * ops.tanh(self.factor / self.bound) * ops.tanh(h)
        elif self.scale == "sigmoid":
            floor = np.exp(-self.bound)
            log_scale = -ops.log(floor + (1 - floor) * ops.sigmoid(h + 2.0))
        else:
            log_scale = self.bound * ops.tanh(h / self.bound)
        return tfb.Chain([tfb.Shift(shift), tfb.Scale(log_scale=log_scale)])

    def get_config(self):
        return {**super().get_config(), "scale": self.scale, "bound": self.bound}


_NAMES = {"additive": Additive, "affine": Affine}


def get(transformer):
    """A transformer from its name or itself; ValueError for anything else."""
    if isinstance(transformer, Transformer):
        return transformer
    if transformer not in _NAMES:
        names = ", ".join(map(repr, _NAMES))
        raise ValueError(f"No transformer is called {transformer!r}: use one of {names}, or a Transformer.")
    return _NAMES[transformer]()
