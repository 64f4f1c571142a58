"""The rational-quadratic spline of an interval whose slopes at the ends are free."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfflows._backend import Tensor, tfb
from tfflows.errors import InputError
from tfflows.transformers.base import Transformer, parameters_last
from tfflows.transformers.spline import FLOOR, RationalQuadraticSpline, bin_sizes


@keras.saving.register_keras_serializable("tfflows")
class IntervalSpline(Transformer):
    """A monotone rational-quadratic spline that maps [-bound, bound] onto itself, with any slopes at both ends.

    For the conditioner's outputs (widths, heights, slopes) of K, K and K + 1 numbers, bin sizes and slopes are those
    of `Spline`, which fixes the slopes at the ends to 1 instead: a density on an interval would be fixed there too.
    The density direction x -> z is the spline. Beyond the interval it goes on monotonically, to the identity from
    2 `bound` on.

    Args:
        num_bins: K, from 2 to 100.
        bound: positive.
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: an argument is out of range.

    Reference:
        Rezende et al. 2020, "Normalizing flows on tori and spheres", arXiv 2002.02428, section 2.2.
    """

    def __init__(self, num_bins: int = 8, bound: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 2 <= num_bins <= 100 or bound <= 0:
            raise InputError(
                f"IntervalSpline got num_bins={num_bins}, bound={bound}: use 2 to 100 bins and a positive bound."
            )
        self.num_bins, self.bound = num_bins, bound
        self.num_parameters = 3 * num_bins + 1

    def bijector(self, outputs: Tensor) -> tfb.Bijector:
        outputs = parameters_last(outputs, self.num_parameters)
        widths, heights, slopes = ops.split(outputs, [self.num_bins, 2 * self.num_bins], axis=-1)
        return tfb.Invert(continued_spline(widths, heights, slopes, self.bound))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_bins": self.num_bins, "bound": self.bound}


def continued_spline(widths: Tensor, heights: Tensor, slopes: Tensor, bound: float) -> RationalQuadraticSpline:
    """Returns a spline of [-bound, bound] onto itself, with one more bin on either side where it becomes the identity.

    TFP's spline has slope 1 at its outermost knots; those of the interval are inner ones here, and free.

    Args:
        widths: [..., K], any numbers, as of a network.
        heights: [..., K].
        slopes: [..., K + 1], at all knots of the interval.
        bound: positive.
    """
    outer = bound * ops.ones_like(widths[..., :1])

    def with_outer(sizes: Tensor) -> Tensor:
        return ops.concatenate([outer, bin_sizes(sizes, 2 * bound), outer], axis=-1)

    shift = float(np.log(np.expm1(1 - FLOOR)))  # zeros give slopes of 1
    slopes = FLOOR + ops.softplus(slopes + shift)
    return RationalQuadraticSpline(with_outer(widths), with_outer(heights), slopes, range_min=-2 * bound)
