"""A discretised mixture of logistics as an elementwise bijection: the conditionals of PixelCNN++."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfflows._backend import Tensor, tfb, tfd
from tfflows.errors import InputError
from tfflows.transformers.base import Transformer, parameters_last

# The smallest tail: Phi^-1 of it, -11.46, is finite, and so is the derivative there, in float32 too.
SMALLEST_TAIL = 1e-30


@keras.saving.register_keras_serializable("tfflows")
class DiscretizedLogistics(Transformer):
    """Maps a dequantized integer to the standard normal through the piecewise linear CDF of a mixture of logistics.

        P(k) = sum_c pi_c [sigmoid((k + 1 - m_c) / s_c) - sigmoid((k - m_c) / s_c)]
        z = Phi^-1(sum_{j < k} P(j) + u P(k)),   log|dz/dx| = log P(k) - log N(z; 0, 1)   for x = k + u, 0 <= u < 1

    where the values 0 and num_values - 1 also have the tails of the logistics, so that the sum over k is 1. If the
    parameters depend on integers alone, then with a standard normal base log p(x) is log P(k), whatever u is: the
    bound by dequantization is exact.

    For the conditioner's outputs (logits, h, r) of C numbers each, pi = softmax(logits), m = (m0 + h / 2) num_values,
    log s = log s0 + bound tanh(r / bound), with m0 spread over (0, 1) and s0 half of their distance in grey values.

    No z leads to an x outside of [0, num_values): the log-det is -inf there, and z is finite.

    Args:
        num_values: the number of grey values.
        num_components: C.
        bound: of the log-scales.
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: there are no components, or fewer than two values.

    Reference:
        Salimans, Karpathy, Chen and Kingma 2017, "PixelCNN++", arXiv 1701.05517, section 2.1.
    """

    def __init__(self, num_values: int = 256, num_components: int = 5, bound: float = 7.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_components < 1 or num_values < 2:
            raise InputError(
                f"DiscretizedLogistics got num_values={num_values}, num_components={num_components}: it needs at least "
                "2 values and 1 component."
            )
        self.num_values, self.num_components, self.bound = num_values, num_components, bound
        self.num_parameters = 3 * num_components

    def bijector(self, outputs: Tensor) -> tfb.Bijector:
        logits, loc, log_scale = ops.split(parameters_last(outputs, self.num_parameters), 3, axis=-1)
        start = ((np.arange(self.num_components) + 0.5) / self.num_components).astype(self.dtype)
        log_scale = self.bound * ops.tanh(log_scale / self.bound)
        log_scale = log_scale + float(np.log(0.5 * self.num_values / self.num_components))
        return _DiscretizedBijector(logits, (start + 0.5 * loc) * self.num_values, log_scale, self.num_values)

    def get_config(self) -> dict[str, Any]:
        names = ("num_values", "num_components", "bound")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


class _DiscretizedBijector(tfb.Bijector):
    """Forward z -> x is the quantile function of Phi(z); parameters [..., C]."""

    def __init__(self, logits: Tensor, loc: Tensor, log_scale: Tensor, num_values: int) -> None:
        parameters = dict(locals())
        self._log_weights = ops.log_softmax(logits, axis=-1)
        self._loc, self._rate, self._num_values = loc, ops.exp(-log_scale), num_values
        # log(1 - exp(-rate)), of which the mass between two edges is a multiple
        self._log_width = ops.log(-ops.expm1(-self._rate))
        super().__init__(
            forward_min_event_ndims=0,
            is_constant_jacobian=False,
            dtype=loc.dtype,
            parameters=parameters,
            name="discretized_logistics",
        )

    @classmethod
    def _parameter_properties(cls, dtype: str) -> dict[str, Any]:
        return {}

    def _inverse(self, x: Tensor) -> Tensor:
        k, u, _ = self._parts(x)
        log_mass, below, above = self._look_up(k)
        mass = ops.exp(log_mass)
        cdf, survival = below + u * mass, above + (1 - u) * mass
        # Each tail is a sum of positive numbers: the smaller one has all its digits.
        lower = cdf < survival
        z = self._normal().quantile(ops.maximum(ops.where(lower, cdf, survival), SMALLEST_TAIL))
        return ops.where(lower, z, -z)

    def _inverse_log_det_jacobian(self, x: Tensor) -> Tensor:
        k, _, outside = self._parts(x)
        log_det = self._look_up(k)[0] - self._normal().log_prob(self.inverse(x))
        return ops.where(outside, -np.inf, log_det)

    def _forward(self, z: Tensor) -> Tensor:
        tail, lower = self._normal().cdf(-ops.abs(z)), z < 0
        k = ops.zeros_like(z)
        for bit in reversed(range((self._num_values - 1).bit_length())):  # the largest k whose interval begins before
            higher = ops.minimum(k + float(2**bit), float(self._num_values - 1))
            _, below, above_and_here = self._edges(higher)
            k = ops.where(ops.where(lower, tail >= below, tail <= above_and_here), higher, k)
        log_mass, below, above = self._look_up(k)
        mass = ops.exp(log_mass)
        u = ops.clip(ops.where(lower, tail - below, above + mass - tail) / ops.maximum(mass, SMALLEST_TAIL), 0.0, 1.0)
        # Rounding must not lead to the next integer.
        return ops.minimum(k + u, (k + 1) * float(1 - np.finfo(self._name_of_dtype()).eps))

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns k, u and whether x is outside of the range, where k and u are those of the middle."""
        outside = ops.logical_or(x < 0, x >= self._num_values)  # False for NaN, which stays NaN
        x = ops.where(outside, self._num_values / 2, x)
        k = ops.stop_gradient(ops.floor(x))
        return k, x - k, outside

    def _edges(self, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the standardised lower edge of k [..., C], and the mass below and above it [...]."""
        edge = (k[..., None] - self._loc) * self._rate
        weights, first = ops.exp(self._log_weights), k <= 0
        below = ops.where(first, 0.0, ops.sum(weights * ops.sigmoid(edge), axis=-1))
        return edge, below, ops.where(first, 1.0, ops.sum(weights * ops.sigmoid(-edge), axis=-1))

    def _look_up(self, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the log mass of k, and the masses of all lower and of all higher values."""
        low = (k[..., None] - self._loc) * self._rate
        high = low + self._rate
        first, last = k[..., None] <= 0, k[..., None] >= self._num_values - 1
        # sigmoid(high) - sigmoid(low) = sigmoid(high) sigmoid(-low) (1 - exp(low - high)), which cancels nowhere
        log_above_low = ops.where(first, 0.0, ops.log_sigmoid(-low))
        log_below_high = ops.where(last, 0.0, ops.log_sigmoid(high))
        inner = ops.where(ops.logical_or(first, last), 0.0, self._log_width)
        log_mass = ops.logsumexp(self._log_weights + log_above_low + log_below_high + inner, axis=-1)
        weights = ops.exp(self._log_weights)
        below = ops.sum(ops.where(first, 0.0, weights * ops.sigmoid(low)), axis=-1)
        above = ops.sum(ops.where(last, 0.0, weights * ops.sigmoid(-high)), axis=-1)
        return log_mass, below, above

    def _normal(self) -> tfd.Normal:
        return tfd.Normal(ops.zeros((), self.dtype), ops.ones((), self.dtype))

    def _name_of_dtype(self) -> str:
        return keras.backend.standardize_dtype(self.dtype)
