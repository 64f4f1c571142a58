"""The layer at the data end of every family."""

from typing import Literal

from tfflows import layers
from tfflows.errors import InputError

Rescaling = Literal["linear", "logit", "gaussianize"]


def data_end(
    num_values: int, rescale: Rescaling | None, alpha: float | None, per_pixel: bool = False
) -> layers.FlowLayer:
    """Returns the layer that takes pixel units to the scale that the rest of the flow sees.

    Args:
        num_values: the number of grey values.
        rescale: "linear" for `layers.Rescale`, "logit" for `layers.Logit`, "gaussianize" for `layers.Gaussianize`.
            None stands for "logit" where there is an `alpha`, else for "linear".
        alpha: of the logit.
        per_pixel: of the Gaussianization.

    Raises:
        InputError: "logit" without `alpha`, `per_pixel` without "gaussianize", or a name that does not exist.
    """
    if rescale is None:
        rescale = "linear" if alpha is None else "logit"
    if per_pixel and rescale != "gaussianize":
        raise InputError(f"per_pixel is true and rescale is {rescale!r}: only 'gaussianize' differs between pixels.")
    if rescale == "linear":
        return layers.Rescale(num_values)
    if rescale == "gaussianize":
        return layers.Gaussianize(num_values, per_pixel)
    if rescale != "logit":
        raise InputError(f"rescale is {rescale!r}: use 'linear', 'logit' or 'gaussianize'.")
    if alpha is None:
        raise InputError("rescale is 'logit' and alpha is missing: give one between 0 and 1/2, for example 0.05.")
    return layers.Logit(num_values, alpha)
