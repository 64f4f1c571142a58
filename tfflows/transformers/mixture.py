"""A mixture of normals as an elementwise bijection: the conditionals of MADE MoG."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfflows._backend import Tensor, autodiff, erfc, tfb
from tfflows.errors import InputError
from tfflows.transformers.base import Transformer

ROOT_HALF, LOG_2, LOG_ROOT_2_PI = 0.5**0.5, math.log(2.0), 0.5 * math.log(2 * math.pi)
MAX_ITERATIONS = 100  # of the search for a quantile; bisection alone needs about 60 in float64


@keras.saving.register_keras_serializable("tfflows")
class MixtureOfGaussians(Transformer):
    """Maps a one-dimensional mixture of normals to the standard normal through their distribution functions.

        z = Phi^-1(sum_c alpha_c Phi((x - mu_c) / sigma_c)),   log|dz/dx| = log p(x) - log N(z; 0, 1)

    Hence a flow of one autoregressive layer with this transformer and a standard normal base has the mixtures p as
    its conditionals (MADE MoG of Papamakarios et al. 2017, arXiv 1705.07057, section 4). Both tails are computed from
    logarithms. Sampling has no closed form: a Newton iteration, bracketed by the components' own quantiles.

    For the conditioner's outputs (logits, h, r) of C numbers each, alpha = softmax(logits), mu = m + h,
    log sigma = log s + bound tanh(r / bound). The constants m differ between components, since equal components would
    stay equal, and s makes the variance 1 at zero outputs.

    Args:
        num_components: C.
        bound: of the log-scales.
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: there are no components.
    """

    def __init__(self, num_components: int = 10, bound: float = 5.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_components < 1:
            raise InputError(f"MixtureOfGaussians got num_components={num_components}: it must be at least 1.")
        self.num_components, self.bound = num_components, bound
        self.num_parameters = 3 * num_components

    def bijector(self, outputs: Tensor) -> tfb.Bijector:
        shape = ops.shape(outputs)
        outputs = ops.reshape(outputs, (*shape[:-1], self.num_parameters, outputs.shape[-1] // self.num_parameters))
        logits, loc, log_scale = ops.split(outputs, 3, axis=-2)  # [..., C, n]
        normal = statistics.NormalDist()
        places = [normal.inv_cdf((c + 0.5) / self.num_components) for c in range(self.num_components)]
        start = 0.9 * np.array(places)[:, None]
        log_scale = self.bound * ops.tanh(log_scale / self.bound) + float(0.5 * np.log(1 - np.var(start)))
        return _MixtureBijector(logits, loc + start.astype(self.dtype), log_scale)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_components": self.num_components, "bound": self.bound}


class _MixtureBijector(tfb.Bijector):
    """Forward z -> x is the mixture's quantile function of Phi(z); x, z [..., n], parameters [..., C, n]."""

    def __init__(self, logits: Tensor, loc: Tensor, log_scale: Tensor) -> None:
        parameters = dict(locals())
        self._log_weights = ops.log_softmax(logits, axis=-2)
        self._loc, self._log_scale = loc, log_scale
        super().__init__(
            forward_min_event_ndims=0,
            is_constant_jacobian=False,
            dtype=loc.dtype,
            parameters=parameters,
            name="mixture",
        )

    @classmethod
    def _parameter_properties(cls, dtype: str) -> dict[str, Any]:
        return {}

    def _inverse(self, x: Tensor) -> Tensor:
        return autodiff.custom_gradient(_score, _score_gradient)(x, self._log_weights, self._loc, self._log_scale)[0]

    def _inverse_log_det_jacobian(self, x: Tensor) -> Tensor:
        return self._log_density(x) - _log_normal(self.inverse(x))  # which TFP has, and does not compute again

    def _forward(self, z: Tensor) -> Tensor:
        """Solves log tail(x) = log Phi(-|z|), in the tail that z lies in."""
        side = ops.where(z < 0, ops.ones_like(z), -ops.ones_like(z))
        target = _log_ndtr(-ops.abs(z))[0]
        tolerance = 8 * np.finfo(keras.backend.standardize_dtype(z.dtype)).eps

        def searching(index: Tensor, x: Tensor, low: Tensor, high: Tensor, done: Tensor) -> Tensor:
            return ops.logical_and(index < MAX_ITERATIONS, ops.logical_not(ops.all(done)))

        def search(index: Tensor, x: Tensor, low: Tensor, high: Tensor, done: Tensor) -> tuple[Tensor, ...]:
            t = _standard(x, self._loc, self._log_scale)
            tail = ops.logsumexp(self._log_weights + _log_ndtr(side[..., None, :] * t)[0], axis=-2)
            residual = side * (tail - target)
            step = ops.exp(ops.minimum(tail - self._log_density(x), 60.0))  # finite between far components
            proposal = x - residual * step
            low, high = ops.where(residual < 0, x, low), ops.where(residual < 0, high, x)
            arrived = ops.abs(proposal - x) <= tolerance * (1 + ops.abs(x))
            # Every third step halves the bracket, so that the search ends where Newton's iteration would not.
            inside = ops.logical_and(proposal > low, proposal < high)
            following = ops.where(ops.logical_and(inside, index % 3 < 2), proposal, 0.5 * (low + high))
            # Rounding alone is left of a residual so small, and x may swing about it for ever.
            exact = ops.abs(residual) <= tolerance / 4 * (1 + ops.abs(target))
            done = ops.logical_or(done, ops.logical_or(ops.logical_or(arrived, exact), high <= low))
            return index + 1, ops.where(done, x, following), low, high, done

        # A mixture's quantile lies between those of its components.
        ends = self._loc + ops.exp(self._log_scale) * z[..., None, :]
        low, high = (ops.stop_gradient(end(ends, axis=-2)) for end in (ops.min, ops.max))
        begin = (np.int32(0), 0.5 * (low + high), low, high, ops.zeros_like(z, dtype="bool"))
        x = ops.stop_gradient(ops.while_loop(searching, search, begin)[1])
        # The gradient is that of the implicit function: one more Newton step, of length 0.
        residual = self._inverse(x) - z
        step = ops.exp(ops.minimum(_log_normal(z) - self._log_density(x), 60.0))
        return x - (residual - ops.stop_gradient(residual)) * ops.stop_gradient(step)

    def _log_density(self, x: Tensor) -> Tensor:
        log_densities = _log_normal(_standard(x, self._loc, self._log_scale)) - self._log_scale
        return ops.logsumexp(self._log_weights + log_densities, axis=-2)


def _score(x: Tensor, log_weights: Tensor, loc: Tensor, log_scale: Tensor) -> tuple[Tensor, ...]:
    """Returns z = Phi^-1(F(x)) from the smaller of the two tails, which keeps its digits.

    And, for the gradient, 1 where that is the lower tail and -1 elsewhere, and each component's share in the tail and
    ratio of `_log_ndtr`, both [..., C, n].
    """
    t = _standard(x, loc, log_scale)
    above = ops.sum(ops.exp(log_weights) * ops.erf(t * ROOT_HALF), axis=-2)  # 2 F(x) - 1
    side = ops.where(above < 0, ops.ones_like(x), -ops.ones_like(x))
    log_tails, log_ratios = _log_ndtr(side[..., None, :] * t)
    parts = log_weights + log_tails
    return side * _quantile(ops.logsumexp(parts, axis=-2)), side, ops.softmax(parts, axis=-2), log_ratios


def _score_gradient(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor], cotangents: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Returns the gradients of z for x and the parameters: dz = dF / N(z), F = sum_c w_c Phi(t_c).

    Tails and densities enter by ratios alone: far out each of them is nothing but rounding errors.
    """
    (x, _, loc, log_scale), (z, side, shares, log_ratios) = inputs, outputs
    log_ratio = _log_ndtr(-ops.abs(z))[1][..., None, :]
    d_z = cotangents[0][..., None, :]
    by_t = d_z * shares * ops.exp(log_ratio - log_ratios)  # w_c N(t_c) / N(z)
    by_x = by_t * ops.exp(-log_scale)
    by_log_weights = d_z * side[..., None, :] * shares * ops.exp(log_ratio)
    return ops.sum(by_x, axis=-2), by_log_weights, -by_x, -by_t * _standard(x, loc, log_scale)


def _standard(x: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
    """Returns (x - loc) / scale [..., C, n], not beyond 10,000, where squares of float32 have no digits left."""
    return ops.clip((x[..., None, :] - loc) * ops.exp(-log_scale), -1e4, 1e4)


def _log_normal(x: Tensor) -> Tensor:
    """Returns log N(x; 0, 1)."""
    return -0.5 * x * x - LOG_ROOT_2_PI


def _log_ndtr(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns log Phi(x), in a third of the time of TFP's, and log(Phi(x) / N(x))."""
    a, begin = ops.abs(x), 20.0 if keras.backend.standardize_dtype(x.dtype) == "float64" else 10.0
    near = ops.log(erfc(ops.minimum(a, begin) * ROOT_HALF)) - LOG_2
    far = ops.maximum(a, begin)
    s = 1 / (far * far)
    series = ops.log1p(-s * (1 - 3 * s * (1 - 5 * s * (1 - 7 * s)))) - ops.log(far)  # of Phi(-far) / N(far)
    log_density = _log_normal(x)
    tail = ops.where(a < begin, near, log_density + series)
    log_cdf = ops.where(x < 0, tail, ops.log1p(-ops.exp(tail)))
    return log_cdf, ops.where(x < -begin, series, log_cdf - log_density)


def _quantile(log_p: Tensor) -> Tensor:
    """Returns Phi^-1(exp(log_p)) for log_p <= log(1/2), however small, without a gradient."""
    t = ops.sqrt(-2 * log_p)
    # Within 4e-4 (Abramowitz and Stegun 1964, 26.2.23); one step of Newton's leaves 7e-8, two 1e-14.
    above, below = (2.515517, 0.802853, 0.010328), (1.0, 1.432788, 0.189269, 0.001308)
    z = (above[0] + t * (above[1] + t * above[2])) / (below[0] + t * (below[1] + t * (below[2] + t * below[3]))) - t
    for _ in range(2 if keras.backend.standardize_dtype(log_p.dtype) == "float64" else 1):
        log_cdf, log_ratio = _log_ndtr(z)
        z = z - (log_cdf - log_p) * ops.exp(log_ratio)
    return z
