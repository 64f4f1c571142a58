"""Planar flows."""

import keras
from keras import ops

from tfflows._backend import Shape, Tensor
from tfflows.errors import InputError
from tfflows.layers.base import FlowLayer

HALVINGS = 40  # of a bracket of width 2 |c|; the Newton step that follows squares the remaining error


@keras.saving.register_keras_serializable("tfflows")
class Planar(FlowLayer):
    """Pushes space apart, or together, along a hyperplane (Rezende and Mohamed 2015, equations 10-12).

        x = z + u tanh(w^T z + b),   log|det dx/dz| = log(1 + c tanh'(w^T z + b)),   c = w^T u > -1

    x, z [B, n]. The constraint makes the map invertible (appendix A.1): with v the weight,
    u = v + (m(w^T v) - w^T v) w / |w|^2 and m(t) = log(1 + (e - 1) exp(t)) - 1, the paper's m moved such that m(0) = 0:
    the layer starts as the identity, v = 0.

    The inverse has no closed form: a = w^T z is the root of the increasing function a + c tanh(a + b) - w^T x, which
    lies within |c| of w^T x, is bracketed by bisection and then improved by a Newton step to about 1e-14 in float64.
    So forward is cheap, and the inverse is exact but takes a loop: for density estimation put the layer into `Invert`.

    Args:
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: x is not [B, n].

    Reference:
        Rezende and Mohamed 2015, "Variational inference with normalizing flows", arXiv 1505.05770, section 4.1.
    """

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) != 2:
            raise InputError(f"Planar takes x [B, n] and got shape {tuple(input_shape)}: put Flatten before it.")
        shape = (input_shape[-1],)
        # Away from 0, where the direction of w is undefined.
        self.w = self.add_weight(shape=shape, initializer=keras.initializers.RandomNormal(0, 1), name="w")
        self.v = self.add_weight(shape=shape, initializer="zeros", name="v")
        self.b = self.add_weight(shape=(), initializer="zeros", name="b")

    def forward_and_log_det(
        self, z: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        u, c = self._direction()
        h = ops.tanh(_project(z, self.w) + self.b)  # [B]
        return z + h[:, None] * u, ops.log1p(c * (1 - ops.square(h)))

    def inverse_and_log_det(
        self, x: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        u, c = self._direction()
        h = ops.tanh(self._solve(_project(x, self.w), c) + self.b)
        return x - h[:, None] * u, -ops.log1p(c * (1 - ops.square(h)))

    def _direction(self) -> tuple[Tensor, Tensor]:
        """Returns u [n] and c = w^T u > -1."""
        w = ops.convert_to_tensor(self.w)
        before = ops.sum(w * self.v)
        c = ops.softplus(before + ops.log(ops.expm1(ops.ones_like(before)))) - 1
        return self.v + (c - before) / ops.sum(ops.square(w)) * w, c

    def _solve(self, y: Tensor, c: Tensor) -> Tensor:
        """Returns the root a [B] of a + c tanh(a + b) = y, with its gradient."""
        target, slope, b = (ops.stop_gradient(value) for value in (y, c, ops.convert_to_tensor(self.b)))

        def halve(_: Tensor, bracket: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            low, high = bracket
            middle = (low + high) / 2
            above = middle + slope * ops.tanh(middle + b) > target
            return ops.where(above, low, middle), ops.where(above, middle, high)

        bracket = (target - ops.abs(slope), target + ops.abs(slope))
        low, high = ops.fori_loop(0, HALVINGS, halve, bracket)
        a = (low + high) / 2
        # One Newton step a - f(a) / f'(a), through which gradients flow though none flows through the loop: where
        # f(a) = 0 its derivative is -df / f'(a), which is that of the root by the implicit function theorem.
        h = ops.tanh(a + self.b)
        return a - (a + c * h - y) / (1 + c * (1 - ops.square(h)))


def _project(x: Tensor, w: Tensor) -> Tensor:
    """Returns w^T x [B]. Not by `matmul`, which accelerators round to 10 bits or fewer by default."""
    return ops.sum(x * w, axis=-1)
