"""Elementwise bijections with parameters from a conditioner: the inner part of couplings and autoregressive layers."""

from tfflows.errors import InputError
from tfflows.transformers.affine import Additive, Affine
from tfflows.transformers.base import Transformer
from tfflows.transformers.circular import CircularSpline
from tfflows.transformers.discretized import DiscretizedLogistics
from tfflows.transformers.interval import IntervalSpline
from tfflows.transformers.mixture import MixtureOfGaussians
from tfflows.transformers.spline import Spline

__all__ = [
    "Additive",
    "Affine",
    "CircularSpline",
    "DiscretizedLogistics",
    "IntervalSpline",
    "MixtureOfGaussians",
    "Spline",
    "Transformer",
    "get",
]

_NAMES = {"additive": Additive, "affine": Affine, "spline": Spline}


def get(transformer: str | Transformer) -> Transformer:
    """Returns a transformer from its name, or itself.

    Raises:
        InputError: there is no transformer of this name.
    """
    if isinstance(transformer, Transformer):
        return transformer
    if transformer not in _NAMES:
        names = ", ".join(map(repr, _NAMES))
        raise InputError(f"No transformer is called {transformer!r}: use one of {names}, or a Transformer.")
    return _NAMES[transformer]()
