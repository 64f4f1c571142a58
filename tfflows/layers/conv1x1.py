"""Invertible 1x1 convolution."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import scipy.linalg
from keras import ops

from tfflows._backend import Shape, Tensor, matmul
from tfflows._backend.autodiff import custom_gradient
from tfflows.layers.base import FlowLayer, per_example


@keras.saving.register_keras_serializable("tfflows")
class Conv1x1(FlowLayer):
    """Mixes the channels of each pixel by one matrix: z = W x, so x = W^-1 z (Glow, equation 9).

        log|det dz/dx| = (number of pixels) log|det W|

    x, z [B, ..., C]; W [C, C] starts as a random rotation. W, its inverse and its determinant are computed once per
    call, not per pixel, and the products are exact on GPUs too, see `tfflows._backend.matmul`. With `lu`,
    W = P L (U + diag(sign exp(log_diagonal))) (equation 10), where the permutation P and the signs stay fixed, L is
    unit lower and U strictly upper triangular: W can then never become singular. Without it W is free, the default of
    the released code, and log|det W| comes from its QR decomposition, which every backend and XLA have.

    Args:
        lu: whether W is kept as its decomposition.
        seed: of the rotation.
        **kwargs: Keras's arguments of a layer.

    Reference:
        Kingma and Dhariwal 2018, "Glow: generative flow with invertible 1x1 convolutions", arXiv 1807.03039,
        section 3.2.
    """

    def __init__(self, lu: bool = False, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lu, self.seed = lu, seed

    def build(self, input_shape: Shape) -> None:
        size = input_shape[-1]
        if not self.lu:
            self.matrix = self.add_weight(shape=(size, size), initializer=self._rotation, name="matrix")
            return
        order, lower, upper = scipy.linalg.lu(self._rotation((size, size), "float64"), p_indices=True)
        diagonal = np.diag(upper)
        # L below the diagonal, U above it, and log_diagonal on it: as many weights as W has.
        packed = np.tril(lower, -1) + np.triu(upper, 1) + np.diag(np.log(np.abs(diagonal)))
        self.lower_upper = self.add_weight(shape=(size, size), initializer=_values(packed), name="lower_upper")
        # Not trained but saved: rounding on another machine may lead to other pivots than those of L and U.
        fixed = {"shape": (size,), "dtype": "int32", "trainable": False}
        self.order = self.add_weight(initializer=_values(order), name="order", **fixed)
        self.sign = self.add_weight(initializer=_values(np.sign(diagonal)), name="sign", **fixed)

    def _rotation(self, shape: Shape, dtype: str) -> np.ndarray:
        """Returns a uniformly distributed rotation, determinant 1; the same for a seed in every release."""
        q, r = np.linalg.qr(np.random.RandomState(self.seed).randn(*shape))
        q = q * np.sign(np.diag(r))  # the decomposition's signs are a convention, not random
        q[:, 0] *= np.sign(np.linalg.det(q))
        return q.astype(dtype)

    def forward_and_log_det(
        self, z: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        if self.lu:
            lower, upper = self._triangles()
            unpermuted = ops.solve_triangular(lower, ops.transpose(self._permutation()), lower=True)
            inverse = ops.solve_triangular(upper, unpermuted)
        else:
            inverse = ops.inv(ops.convert_to_tensor(self.matrix))
        return self._apply(inverse, -self._log_abs_det(), z)

    def inverse_and_log_det(
        self, x: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        if self.lu:
            lower, upper = self._triangles()
            matrix = matmul(self._permutation(), matmul(lower, upper))
        else:
            matrix = ops.convert_to_tensor(self.matrix)
        return self._apply(matrix, self._log_abs_det(), x)

    def inverse_and_local_log_det(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, _ = self.inverse_and_log_det(x)
        return z, ops.broadcast_to(self._log_abs_det() / x.shape[-1], ops.shape(x))

    def locate(self, values: Tensor) -> Tensor:
        return ops.broadcast_to(ops.mean(values, axis=-1, keepdims=True), ops.shape(values))

    def _permutation(self) -> Tensor:
        return ops.one_hot(self.order, self.order.shape[0], dtype=self.dtype)

    def _triangles(self) -> tuple[Tensor, Tensor]:
        """Returns L and U + diag(sign exp(log_diagonal))."""
        eye = np.eye(self.order.shape[0], dtype=self.dtype)
        diagonal = ops.cast(self.sign, self.dtype) * ops.exp(ops.diagonal(self.lower_upper))
        return ops.tril(self.lower_upper, -1) + eye, ops.triu(self.lower_upper, 1) + eye * diagonal

    def _log_abs_det(self) -> Tensor:
        if self.lu:
            return ops.sum(ops.diagonal(self.lower_upper))
        return log_abs_det(ops.convert_to_tensor(self.matrix))

    def _apply(self, matrix: Tensor, log_abs_det: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        rows = matmul(ops.reshape(x, (-1, x.shape[-1])), matrix, transpose_b=True)  # one product for all pixels
        return ops.reshape(rows, (-1, *x.shape[1:])), per_example(math.prod(x.shape[1:-1]) * log_abs_det, x)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "lu": self.lu, "seed": self.seed}


def log_abs_det(matrices: Tensor) -> Tensor:
    """Returns the sum of log|det W| over matrices [..., C, C]."""
    return _log_abs_det(matrices)[0]


def _log_abs_det_by_qr(matrices: Tensor) -> tuple[Tensor]:
    _, triangles = ops.qr(matrices)
    return (ops.sum(ops.log(ops.abs(ops.diagonal(triangles, axis1=-2, axis2=-1)))),)


# XLA has no decomposition but QR, whose derivative takes many operations where this one's is the inverse.
_log_abs_det = custom_gradient(
    _log_abs_det_by_qr, lambda inputs, _, slopes: (slopes[0] * ops.swapaxes(ops.inv(*inputs), -1, -2),)
)


def _values(value: np.ndarray) -> Callable[..., np.ndarray]:
    return lambda shape, dtype: value.astype(dtype)
