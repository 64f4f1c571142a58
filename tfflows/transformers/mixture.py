"""A mixture of normals as an elementwise bijection: the conditionals of MADE MoG."""

import statistics
from typing import Any

import keras
import numpy as np
from keras import ops

from tfflows._backend import Tensor, tfb, tfd
from tfflows.errors import InputError
from tfflows.transformers.base import Transformer, parameters_last

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
        logits, loc, log_scale = ops.split(parameters_last(outputs, self.num_parameters), 3, axis=-1)
        normal = statistics.NormalDist()
        start = 0.9 * np.array([normal.inv_cdf((c + 0.5) / self.num_components) for c in range(self.num_components)])
        log_scale = self.bound * ops.tanh(log_scale / self.bound) + float(0.5 * np.log(1 - np.var(start)))
        return _MixtureBijector(logits, loc + start.astype(self.dtype), log_scale)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_components": self.num_components, "bound": self.bound}


class _MixtureBijector(tfb.Bijector):
    """Forward z -> x is the mixture's quantile function of Phi(z); parameters [..., C]."""

    def __init__(self, logits: Tensor, loc: Tensor, log_scale: Tensor) -> None:
        parameters = dict(locals())
        self._log_weights = ops.log_softmax(logits, axis=-1)
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
        lower, upper = self._log_tails(x)
        # The smaller of the two tails is the one that keeps its digits.
        z = _quantile(ops.minimum(lower, upper))
        return ops.where(lower < upper, z, -z)

    def _inverse_log_det_jacobian(self, x: Tensor) -> Tensor:
        return self._log_density(x) - _normal(x).log_prob(self._inverse(x))

    def _forward(self, z: Tensor) -> Tensor:
        """Solves log tail(x) = log Phi(-|z|), in the tail that z lies in."""
        low_side = z < 0
        sign = ops.where(low_side, ops.ones_like(z), -ops.ones_like(z))
        target = _normal(z).log_cdf(-ops.abs(z))
        tolerance = 8 * np.finfo(np.dtype(keras.backend.standardize_dtype(z.dtype))).eps

        def residual_and_step(x: Tensor) -> tuple[Tensor, Tensor]:
            lower, upper = self._log_tails(x)
            tail = ops.where(low_side, lower, upper)
            residual = sign * (tail - target)
            return residual, ops.exp(ops.minimum(tail - self._log_density(x), 60.0))  # finite between far components

        def searching(index: Tensor, x: Tensor, low: Tensor, high: Tensor, done: Tensor) -> Tensor:
            return ops.logical_and(index < MAX_ITERATIONS, ops.logical_not(ops.all(done)))

        def search(index: Tensor, x: Tensor, low: Tensor, high: Tensor, done: Tensor) -> tuple[Tensor, ...]:
            residual, step = residual_and_step(x)
            proposal = x - residual * step
            low, high = ops.where(residual < 0, x, low), ops.where(residual < 0, high, x)
            arrived = ops.abs(proposal - x) <= tolerance * (1 + ops.abs(x))
            # Every third step halves the bracket, so that the search ends where Newton's iteration would not.
            inside = ops.logical_and(proposal > low, proposal < high)
            following = ops.where(ops.logical_and(inside, index % 3 < 2), proposal, 0.5 * (low + high))
            done = ops.logical_or(done, ops.logical_or(arrived, high <= low))
            return index + 1, ops.where(done, x, following), low, high, done

        # A mixture's quantile lies between those of its components.
        ends = self._loc + ops.exp(self._log_scale) * z[..., None]
        low, high = (ops.stop_gradient(end(ends, axis=-1)) for end in (ops.min, ops.max))
        begin = (np.int32(0), 0.5 * (low + high), low, high, ops.zeros_like(low_side))
        x = ops.stop_gradient(ops.while_loop(searching, search, begin)[1])
        # The gradient is that of the implicit function: one more Newton step, of length 0.
        residual, step = residual_and_step(x)
        return x - (residual - ops.stop_gradient(residual)) * ops.stop_gradient(step)

    def _standard(self, x: Tensor) -> Tensor:
        return (x[..., None] - self._loc) * ops.exp(-self._log_scale)

    def _log_tails(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns log P(X <= x) and log P(X > x)."""
        t = ops.clip(self._standard(x), -1e4, 1e4)  # beyond, the expansion of log Phi overflows in float32
        return tuple(ops.logsumexp(self._log_weights + _normal(x).log_cdf(v), axis=-1) for v in (t, -t))

    def _log_density(self, x: Tensor) -> Tensor:
        log_densities = _normal(x).log_prob(self._standard(x)) - self._log_scale
        return ops.logsumexp(self._log_weights + log_densities, axis=-1)


def _normal(x: Tensor) -> tfd.Normal:
    return tfd.Normal(ops.zeros((), x.dtype), ops.ones((), x.dtype))


def _quantile(log_p: Tensor) -> Tensor:
    """Returns Phi^-1(exp(log_p)) for log_p <= log(1/2), however small."""
    normal, value = _normal(log_p), ops.stop_gradient(log_p)
    far = value < -2.0
    radicand = -2 * ops.where(far, value, -2.0) - np.log(2 * np.pi)
    z = ops.where(far, -ops.sqrt(radicand - ops.log(radicand)), normal.quantile(ops.exp(ops.maximum(value, -2.0))))
    for _ in range(4):  # from an error of a hundredth to rounding
        log_cdf = normal.log_cdf(z)
        z = ops.stop_gradient(z - (log_cdf - value) * ops.exp(log_cdf - normal.log_prob(z)))
    # The last Newton step carries the gradient: d z / d log_p = Phi(z) / N(z).
    log_cdf = ops.stop_gradient(normal.log_cdf(z))
    return z + (log_p - log_cdf) * ops.exp(log_cdf - ops.stop_gradient(normal.log_prob(z)))
