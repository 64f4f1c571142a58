"""Additive and affine transformers."""

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from tfflows._backend import Shape, Tensor, tfb
from tfflows.errors import InputError
from tfflows.transformers.base import Transformer


@keras.saving.register_keras_serializable("tfflows")
class Additive(Transformer):
    """x = z + shift (Dinh et al. 2015, section 3.2): volume-preserving."""

    num_parameters = 1

    def bijector(self, outputs: Tensor) -> tfb.Bijector:
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

    Args:
        scale: "tanh", "sigmoid" or "clamp".
        bound: of the log_scale.
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: there is no such `scale`.
    """

    num_parameters = 2

    def __init__(self, scale: Literal["tanh", "sigmoid", "clamp"] = "tanh", bound: float = 5.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if scale not in ("tanh", "sigmoid", "clamp"):
            raise InputError(f"Affine got scale={scale!r}: use 'tanh', 'sigmoid' or 'clamp'.")
        self.scale, self.bound = scale, bound

    def build(self, event_shape: Shape) -> None:
        if self.scale == "tanh":
            self.factor = self.add_weight(shape=(event_shape[-1],), initializer="ones", name="factor")

    def bijector(self, outputs: Tensor) -> tfb.Bijector:
        shift, h = ops.split(outputs, 2, axis=-1)
        if self.scale == "sigmoid":
            floor = np.exp(-self.bound)
            inverse_scale = floor + (1 - floor) * ops.sigmoid(h + 2.0)
            return _Affine(shift, inverse_scale, ops.log(inverse_scale))
        if self.scale == "tanh":
            log_scale = self.bound * ops.tanh(self.factor / self.bound) * ops.tanh(h)
        else:
            log_scale = self.bound * ops.tanh(h / self.bound)
        return _Affine(shift, ops.exp(-log_scale), -log_scale)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale, "bound": self.bound}


class _Affine(tfb.Bijector):
    """x = z / inverse_scale + shift, for a positive scale; in half of the operations of TFP's Scale and Shift.

    TFP's Scale takes scales of both signs, with the logarithm of their absolute value and its gradient.
    """

    def __init__(self, shift: Tensor, inverse_scale: Tensor, log_inverse_scale: Tensor) -> None:
        parameters = dict(locals())
        self._shift, self._inverse_scale, self._log_inverse_scale = shift, inverse_scale, log_inverse_scale
        super().__init__(
            forward_min_event_ndims=0,
            is_constant_jacobian=False,
            dtype=shift.dtype,
            parameters=parameters,
            name="affine",
        )

    @classmethod
    def _parameter_properties(cls, dtype: str) -> dict[str, Any]:
        return {}

    def _forward(self, z: Tensor) -> Tensor:
        return z / self._inverse_scale + self._shift

    def _inverse(self, x: Tensor) -> Tensor:
        return (x - self._shift) * self._inverse_scale

    def _forward_log_det_jacobian(self, z: Tensor) -> Tensor:
        return -self._log_inverse_scale

    def _inverse_log_det_jacobian(self, x: Tensor) -> Tensor:
        return self._log_inverse_scale
