"""From pixel units [0, num_values) to the scale that networks expect."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfflows._backend import Tensor, tfb
from tfflows.errors import InputError
from tfflows.layers.base import BijectorLayer


@keras.saving.register_keras_serializable("tfflows")
class Rescale(BijectorLayer):
    """Scales pixels linearly to [-1/2, 1/2): z = x / num_values - 1/2.

    x, z [B, *event_shape]; log|det dz/dx| = -D log(num_values), D the number of dimensions.

    Args:
        num_values: the number of grey values.
        **kwargs: Keras's arguments of a layer.
    """

    def __init__(self, num_values: int = 256, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_values = num_values

    def bijector(self) -> tfb.Bijector:
        scale, half = (ops.convert_to_tensor(v, self.dtype) for v in (self.num_values, 0.5))
        return tfb.Chain([tfb.Scale(scale), tfb.Shift(half)])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_values": self.num_values}


@keras.saving.register_keras_serializable("tfflows")
class Logit(BijectorLayer):
    """Maps pixels to the real line: z = logit(alpha + (1 - 2 alpha) x / num_values).

    x, z [B, *event_shape], x in [0, num_values]. Dinh et al. 2017 (section 4.1) print alpha + (1 - alpha) x / 256,
    which is infinite at the upper end; the symmetric form here is their released code's and that of Papamakarios
    et al. 2017 (appendix D.2, who call it lambda).

    No z leads to an x beyond -b or num_values + b, b = alpha num_values / (1 - 2 alpha): the log-det is
    -inf there, so that the density is 0, and z is 0.

    Args:
        num_values: the number of grey values.
        alpha: between 0 and 1/2.
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: `alpha` is out of range.
    """

    def __init__(self, num_values: int = 256, alpha: float = 0.05, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < alpha < 0.5:
            raise InputError(f"Logit got alpha={alpha}: it must lie between 0 and 1/2, for example 0.05.")
        self.num_values, self.alpha = num_values, alpha

    def bijector(self) -> tfb.Bijector:
        scale = ops.convert_to_tensor(self.num_values / (1 - 2 * self.alpha), self.dtype)
        shift = ops.convert_to_tensor(-self.alpha, self.dtype)
        return tfb.Chain([tfb.Scale(scale), tfb.Shift(shift), tfb.Sigmoid()])

    def inverse_and_log_det(
        self, x: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        outside = self._outside(x)
        z, log_det = super().inverse_and_log_det(ops.where(outside, self.num_values / 2, x))
        return z, ops.where(ops.any(outside, axis=tuple(range(1, len(x.shape)))), -np.inf, log_det)

    def inverse_and_local_log_det(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        outside = self._outside(x)
        z, log_det = super().inverse_and_local_log_det(ops.where(outside, self.num_values / 2, x))
        return z, ops.where(outside, -np.inf, log_det)

    def _outside(self, x: Tensor) -> Tensor:
        beyond = self.alpha * self.num_values / (1 - 2 * self.alpha)
        return ops.logical_or(x <= -beyond, x >= self.num_values + beyond)  # False for NaN, which stays NaN

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_values": self.num_values, "alpha": self.alpha}
