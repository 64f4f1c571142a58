"""The rational-quadratic spline of the circle."""

import math
from typing import Any

import keras
from keras import ops

from tfflows._backend import Tensor, tfb
from tfflows.errors import InputError
from tfflows.transformers.base import Transformer, parameters_last
from tfflows.transformers.interval import continued_spline
from tfflows.transformers.spline import RationalQuadraticSpline

PERIOD = 2 * math.pi


@keras.saving.register_keras_serializable("tfflows")
class CircularSpline(Transformer):
    """A smooth invertible map of the circle: a rational-quadratic spline with equal slopes at the seam, and a rotation.

        z = spline(wrap(x - rotation)),   spline(-pi) = -pi, spline(pi) = pi, spline'(-pi) = spline'(pi)

    x and z are angles, of which any multiples of 2 pi are one; results lie in [-pi, pi). For the conditioner's
    outputs (widths, heights, slopes, rotation) of K, K, K and 1 numbers, bin sizes and slopes are those of `Spline`;
    zeros give the identity.

    Args:
        num_bins: K, from 2 to 100.
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: `num_bins` is out of range.

    Reference:
        Rezende et al. 2020, "Normalizing flows on tori and spheres", arXiv 2002.02428, section 2.1.2.
    """

    def __init__(self, num_bins: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 2 <= num_bins <= 100:
            raise InputError(f"CircularSpline got num_bins={num_bins}: use 2 to 100 bins.")
        self.num_bins = num_bins
        self.num_parameters = 3 * num_bins + 1

    def bijector(self, outputs: Tensor) -> tfb.Bijector:
        outputs, k = parameters_last(outputs, self.num_parameters), self.num_bins
        widths, heights, slopes, rotation = ops.split(outputs, [k, 2 * k, 3 * k], axis=-1)
        slopes = ops.concatenate([slopes, slopes[..., :1]], axis=-1)  # the last knot is the first
        return _CircularBijector(continued_spline(widths, heights, slopes, math.pi), rotation[..., 0])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_bins": self.num_bins}


class _CircularBijector(tfb.Bijector):
    """Forward z -> x is the inverse of a spline of [-pi, pi], and a rotation."""

    def __init__(self, spline: RationalQuadraticSpline, rotation: Tensor) -> None:
        parameters = dict(locals())
        self._spline, self._rotation = spline, rotation
        super().__init__(
            forward_min_event_ndims=0,
            is_constant_jacobian=False,
            dtype=rotation.dtype,
            parameters=parameters,
            name="circular",
        )

    @classmethod
    def _parameter_properties(cls, dtype: str) -> dict[str, Any]:
        return {}

    def _forward(self, z: Tensor) -> Tensor:
        return wrap(self._spline.inverse(wrap(z)) + self._rotation)

    def _inverse(self, x: Tensor) -> Tensor:
        return wrap(self._spline.forward(wrap(x - self._rotation)))

    def _inverse_log_det_jacobian(self, x: Tensor) -> Tensor:
        return self._spline.forward_log_det_jacobian(wrap(x - self._rotation), event_ndims=0)


def wrap(angle: Tensor) -> Tensor:
    """Returns angles in [-pi, pi) that differ by multiples of 2 pi from those given."""
    return angle - PERIOD * ops.stop_gradient(ops.floor((angle + math.pi) / PERIOD))
