"""Activation normalisation next to an invertible 1x1 convolution, as one product for each pixel.

    z = W diag(exp(-log_scale)) (x - shift),   x = diag(exp(log_scale)) W^-1 z + shift

A Glow has such a pair in each step. What depends on the weights alone (scaled matrices, inverses, determinants) is
computed for all pairs of a chain at once: in operations of its own for each it would be a large part of the graph.
"""

import collections
import math
from collections.abc import Iterable

from keras import ops

from tfflows._backend import Tensor, matmul
from tfflows.layers.actnorm import ActNorm
from tfflows.layers.base import FlowLayer, per_example
from tfflows.layers.conv1x1 import Conv1x1, log_abs_det


def merged(layers: Iterable[FlowLayer], density: bool) -> list["FlowLayer | _Pair"]:
    """Returns layers in which one object stands for each ActNorm and the Conv1x1 (with a free matrix) on its z side.

    Args:
        layers: in the order in which they are applied: from data to latent for a density, else from latent to data.
        density: which of the two directions will be called.
    """
    found, by_channels = [], collections.defaultdict(list)  # in a chain as many channels are as many pixels
    for layer in layers:
        neighbours = (found[-1] if found else None, layer)
        actnorm, convolution = neighbours if density else neighbours[::-1]
        if type(actnorm) is ActNorm and type(convolution) is Conv1x1 and not convolution.lu:
            found[-1] = _Pair(actnorm, convolution)
            by_channels[convolution.matrix.shape].append(found[-1])
        else:
            found.append(layer)
    for pairs in by_channels.values():
        _prepare(pairs, density)
    return found


def _prepare(pairs: list["_Pair"], density: bool) -> None:
    """Gives each of the pairs, of one size, its matrix, and the first of them the log-determinant of all."""
    weights = ops.stack([pair.convolution.matrix.value for pair in pairs])  # [K, C, C]
    log_scales = ops.stack([pair.actnorm.log_scale.value for pair in pairs])  # [K, C]
    log_det = log_abs_det(weights) - ops.sum(log_scales)  # of one pixel, in the density direction
    if density:
        matrices = weights * ops.exp(-log_scales)[:, None, :]
    else:
        matrices = ops.exp(log_scales)[:, :, None] * ops.inv(weights)
    pairs[0].log_det = log_det if density else -log_det
    for pair, matrix in zip(pairs, ops.unstack(matrices, len(pairs)), strict=True):
        pair.matrix = matrix


class _Pair:
    """An actnorm and a 1x1 convolution, with the methods of a flow layer; their log-determinant may be None.

    Attributes:
        matrix: of the product, in the direction that will be called.
        log_det: of one pixel for all pairs of this size, or None where another of them has it.
    """

    def __init__(self, actnorm: ActNorm, convolution: Conv1x1) -> None:
        self.actnorm, self.convolution = actnorm, convolution
        self.matrix, self.log_det = None, None

    def forward_and_log_det(
        self, z: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        return self._product(z) + self.actnorm.shift, self._log_det(z)

    def inverse_and_log_det(
        self, x: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        # The shift before the product: as a bias after it, one much larger than the scale would cost digits.
        return self._product(x - self.actnorm.shift), self._log_det(x)

    def _product(self, x: Tensor) -> Tensor:
        rows = matmul(ops.reshape(x, (-1, x.shape[-1])), self.matrix, transpose_b=True)  # one product for all pixels
        return ops.reshape(rows, (-1, *x.shape[1:]))

    def _log_det(self, x: Tensor) -> Tensor | None:
        return None if self.log_det is None else per_example(math.prod(x.shape[1:-1]) * self.log_det, x)
