"""The rational-quadratic spline transformer."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfflows._backend import Tensor, compile_time_eval, tfb
from tfflows.errors import InputError
from tfflows.transformers.base import Transformer, parameters_last

FLOOR = 1e-3  # of the share of a bin, and of the slopes


@keras.saving.register_keras_serializable("tfflows")
class Spline(Transformer):
    """A monotone rational-quadratic spline on [-bound, bound], the identity outside of it.

    The density direction x -> z is the spline itself, `tfb.RationalQuadraticSpline`, and sampling its inverse, so that
    training differentiates no root. For the conditioner's outputs (widths, heights, slopes) of K, K and K - 1 numbers,
        bin sizes = 2 bound (floor + (1 - K floor) softmax(widths or heights)), inner slopes = floor + softplus(slopes)
    with floor = 1e-3, and slopes shifted such that zero outputs give the identity.

    Args:
        num_bins: K, from 2 to 100.
        bound: positive.
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: an argument is out of range.

    Reference:
        Durkan, Bekasov, Murray and Papamakarios 2019, "Neural spline flows", arXiv 1906.04032, section 3.1.
    """

    def __init__(self, num_bins: int = 8, bound: float = 5.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 2 <= num_bins <= 100 or bound <= 0:
            raise InputError(f"Spline got num_bins={num_bins}, bound={bound}: use 2 to 100 bins and a positive bound.")
        self.num_bins, self.bound = num_bins, bound
        self.num_parameters = 3 * num_bins - 1

    def bijector(self, outputs: Tensor) -> tfb.Bijector:
        outputs = parameters_last(outputs, self.num_parameters)
        widths, heights, slopes = ops.split(outputs, [self.num_bins, 2 * self.num_bins], axis=-1)
        shift = float(np.log(np.expm1(1 - FLOOR)))
        return tfb.Invert(
            RationalQuadraticSpline(
                bin_sizes(widths, 2 * self.bound),
                bin_sizes(heights, 2 * self.bound),
                FLOOR + ops.softplus(slopes + shift),
                range_min=-self.bound,
            )
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_bins": self.num_bins, "bound": self.bound}


def bin_sizes(h: Tensor, total: float) -> Tensor:
    """Returns positive sizes [..., K] that add up to `total`, equal ones for zeros h [..., K]."""
    return total * (FLOOR + (1 - h.shape[-1] * FLOOR) * ops.softmax(h, axis=-1))


class RationalQuadraticSpline(tfb.RationalQuadraticSpline):
    """TFP's spline. On JAX it pads by the rank of its knots, which must not become a tracer under jit."""

    def _compute_shared(self, x: Tensor | None = None, y: Tensor | None = None) -> Any:
        with compile_time_eval():
            return super()._compute_shared(x=x, y=y)
