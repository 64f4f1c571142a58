"""Elementwise bijections with parameters from a conditioner: the inner part of couplings and autoregressive layers.

A transformer for n elements takes a conditioner's output [B, ..., num_parameters * n], parameter-major, and returns a
scalar TFP bijector z -> x on [B, ..., n].
"""

import keras
import numpy as np
from keras import ops

from tfflows._backend import constants_now, flow_dtype, tfb


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
            inverse_scale = floor + (1 - floor) * ops.sigmoid(h + 2.0)
            return tfb.Invert(tfb.Chain([tfb.Scale(inverse_scale), tfb.Shift(-shift)]))
        else:
            log_scale = self.bound * ops.tanh(h / self.bound)
        return tfb.Chain([tfb.Shift(shift), tfb.Scale(log_scale=log_scale)])

    def get_config(self):
        return {**super().get_config(), "scale": self.scale, "bound": self.bound}


@keras.saving.register_keras_serializable("tfflows")
class Spline(Transformer):
    """A monotone rational-quadratic spline on [-bound, bound], the identity outside of it.

    The density direction x -> z is the spline itself, `tfb.RationalQuadraticSpline`, and sampling its inverse, so that
    training differentiates no root. For the conditioner's outputs (widths, heights, slopes) of K, K and K - 1 numbers,
        bin sizes = 2 bound (floor + (1 - K floor) softmax(widths or heights)), inner slopes = floor + softplus(slopes)
    with floor = 1e-3, and slopes shifted such that zero outputs give the identity.

    Arguments: `num_bins` K >= 2; `bound` > 0.

    Reference: Durkan, Bekasov, Murray and Papamakarios 2019, "Neural spline flows", arXiv 1906.04032, section 3.1.
    """

    floor = 1e-3

    def __init__(self, num_bins=8, bound=5.0, **kwargs):
        super().__init__(**kwargs)
        if not 2 <= num_bins <= 100 or bound <= 0:
            raise ValueError(f"Spline got num_bins={num_bins}, bound={bound}: use 2 to 100 bins and a positive bound.")
        self.num_bins, self.bound = num_bins, bound
        self.num_parameters = 3 * num_bins - 1

    def bijector(self, outputs):
        outputs = parameters_last(outputs, self.num_parameters)
        widths, heights, slopes = ops.split(outputs, [self.num_bins, 2 * self.num_bins], axis=-1)
        shift = float(np.log(np.expm1(1 - self.floor)))
        return tfb.Invert(
            _Spline(
                self._sizes(widths),
                self._sizes(heights),
                self.floor + ops.softplus(slopes + shift),
                range_min=-self.bound,
            )
        )

    def _sizes(self, h):
        return 2 * self.bound * (self.floor + (1 - self.num_bins * self.floor) * ops.softmax(h, axis=-1))

    def get_config(self):
        return {**super().get_config(), "num_bins": self.num_bins, "bound": self.bound}


class _Spline(tfb.RationalQuadraticSpline):
    """TFP's spline; on JAX it pads by the rank of its knots, which under jit must be kept from becoming a tracer."""

    def _compute_shared(self, x=None, y=None):
        with constants_now():
            return super()._compute_shared(x=x, y=y)


def parameters_last(outputs, num_parameters):
    """[B, ..., P n], parameter-major, as [B, ..., n, P]."""
    shape = ops.shape(outputs)
    outputs = ops.reshape(outputs, (*shape[:-1], num_parameters, outputs.shape[-1] // num_parameters))
    return ops.swapaxes(outputs, -1, -2)


_NAMES = {"additive": Additive, "affine": Affine, "spline": Spline}


def get(transformer):
    """A transformer from its name or itself; ValueError for anything else."""
    if isinstance(transformer, Transformer):
        return transformer
    if transformer not in _NAMES:
        names = ", ".join(map(repr, _NAMES))
        raise ValueError(f"No transformer is called {transformer!r}: use one of {names}, or a Transformer.")
    return _NAMES[transformer]()
