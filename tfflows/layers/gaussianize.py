"""Marginal Gaussianization of discrete values: each pixel through its own distribution function."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from tfflows._backend import Shape, Tensor, tfd
from tfflows.errors import InputError
from tfflows.layers.base import FlowLayer, sum_event

# The smallest tail: Phi^-1 of it, -11.46, is finite, and so is the derivative there, in float32 too.
SMALLEST_TAIL = 1e-30
# What each value counts for before any is seen, and what the image's histogram counts for in a pixel's own, in images.
PSEUDO_COUNT, PSEUDO_IMAGES = 1.0, 10.0


@keras.saving.register_keras_serializable("tfflows")
class Gaussianize(FlowLayer):
    """Maps pixels to the real line through their piecewise linear CDF and the normal quantile function.

        z = Phi^-1(F(x)),   F(k + u) = sum_{j < k} p_j + u p_k  for k = 0 .. num_values - 1 and 0 <= u < 1,
        log|det dz/dx| = sum log p_k - log N(z; 0, 1)

    x, z [B, *event_shape], x in [0, num_values). A pixel whose value has the masses p, dequantized by uniform noise, is
    standard normal afterwards, whatever p is. The masses are softmax(logits), uniform until `initialize` makes them the
    histogram of its images (`Flow.adapt` gives it 1,000, or 10,000 where `per_pixel`), with each value counted once
    more than it occurs. Above the median z comes from the survival function, summed from the upper end, so that
    float32 keeps both tails.

    No z leads to an x outside of [0, num_values): the log-det is -inf there, so that the density is 0, and z is finite.

    Args:
        num_values: the number of grey values, at least 2, else InputError.
        per_pixel: whether each element of the event has its own masses, which begin as its histogram shrunk towards
            that of all.
        learned: whether the logits are trained further.
        **kwargs: Keras's arguments of a layer.

    Reference:
        Chen and Gopinath 2000, "Gaussianization"; Laparra, Camps-Valls and Malo 2011, arXiv 1602.00229; Meng, Song,
        Song and Ermon 2020, "Gaussianization flows", arXiv 2003.01941.
    """

    data_dependent = True

    def __init__(self, num_values: int = 256, per_pixel: bool = False, learned: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_values < 2:
            raise InputError(f"Gaussianize got num_values={num_values}: it needs at least 2.")
        self.num_values, self.per_pixel, self.learned = num_values, per_pixel, learned
        self.initial_images = 10_000 if per_pixel else 1_000

    def build(self, input_shape: Shape) -> None:
        self._size = math.prod(input_shape[1:])
        rows = self._size if self.per_pixel else 1
        self.logits = self.add_weight(
            shape=(rows, self.num_values), initializer="zeros", trainable=self.learned, name="logits"
        )

    def forward_and_log_det(
        self, z: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        normal = self._normal()
        tail, lower = normal.cdf(-ops.abs(z)), z < 0
        table = self._table()
        k = self._search(table, tail, lower)
        log_mass, below, above = self._look_up(table, k)
        mass = ops.exp(log_mass)
        # Clipped, since rounding may lead out of the value's interval or up to num_values.
        u = ops.clip(ops.where(lower, tail - below, above + mass - tail) / ops.maximum(mass, SMALLEST_TAIL), 0.0, 1.0)
        largest = float(np.nextafter(np.asarray(self.num_values, self.dtype), 0, dtype=self.dtype))
        x = ops.minimum(ops.cast(k, self.dtype) + u, largest)
        return x, sum_event(normal.log_prob(z) - log_mass)

    def inverse_and_log_det(
        self, x: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        z, log_det = self.inverse_and_local_log_det(x, condition)
        return z, sum_event(log_det)

    def inverse_and_local_log_det(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        outside = ops.logical_or(x < 0, x >= self.num_values)  # False for NaN, which stays NaN
        x = ops.where(outside, self.num_values / 2, x)
        floor = ops.stop_gradient(ops.floor(x))
        k = ops.clip(ops.cast(floor, "int32"), 0, self.num_values - 1)  # of NaN too
        log_mass, below, above = self._look_up(self._table(), k)
        u, mass = x - floor, ops.exp(log_mass)
        cdf, survival = below + u * mass, above + (1 - u) * mass
        # Each tail is a sum of positive numbers: the smaller one has all its digits.
        normal, lower = self._normal(), cdf < survival
        z = normal.quantile(ops.maximum(ops.where(lower, cdf, survival), SMALLEST_TAIL))
        z = ops.where(lower, z, -z)
        return z, ops.where(outside, -np.inf, log_mass - normal.log_prob(z))

    def initialize(self, x: Tensor, condition: Tensor | None = None) -> None:
        if not self.trainable:
            return
        values = ops.convert_to_numpy(x).reshape(len(x), self._size)
        values = np.clip(np.floor(values), 0, self.num_values - 1).astype("int64")
        counts = np.bincount(values.ravel(), minlength=self.num_values) + PSEUDO_COUNT
        masses = (counts / counts.sum())[None]
        if self.per_pixel:
            places = values + self.num_values * np.arange(self._size)
            counts = np.bincount(places.ravel(), minlength=self.num_values * self._size)
            counts = counts.reshape(self._size, self.num_values)
            masses = (counts + PSEUDO_IMAGES * masses) / (len(values) + PSEUDO_IMAGES)
        self.logits.assign(np.log(masses).astype(self.dtype))

    def _table(self) -> Tensor:
        """Returns [rows * num_values, 3]: each value's log mass, and the masses of all lower and all higher ones."""
        log_mass = ops.log_softmax(self.logits, axis=-1)
        mass = ops.exp(log_mass)
        nothing = ops.zeros_like(mass[:, :1])
        below = ops.concatenate([nothing, ops.cumsum(mass[:, :-1], axis=-1)], axis=-1)
        above = ops.concatenate([ops.flip(ops.cumsum(ops.flip(mass[:, 1:], -1), axis=-1), -1), nothing], axis=-1)
        return ops.reshape(ops.stack([log_mass, below, above], axis=-1), (-1, 3))

    def _look_up(self, table: Tensor, k: Tensor) -> list[Tensor]:
        """Returns the columns of a table at the values k [B, *event_shape], each of k's shape."""
        if self.per_pixel:
            k = k + np.arange(0, self._size * self.num_values, self.num_values, "int32").reshape(k.shape[1:])
        return ops.unstack(ops.take(table, k, axis=0), axis=-1)

    def _search(self, table: Tensor, tail: Tensor, lower: Tensor) -> Tensor:
        """Returns the value in whose interval a quantile lies, by bisection; `tail` is F where `lower`, else 1 - F."""
        k = ops.zeros_like(tail, dtype="int32")
        for bit in reversed(range((self.num_values - 1).bit_length())):
            higher = ops.minimum(k + 2**bit, self.num_values - 1)
            log_mass, below, above = self._look_up(table, higher)
            reached = ops.where(lower, tail >= below, tail <= above + ops.exp(log_mass))
            k = ops.where(reached, higher, k)
        return k

    def _normal(self) -> tfd.Normal:
        return tfd.Normal(ops.zeros((), self.dtype), ops.ones((), self.dtype))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_values": self.num_values,
            "per_pixel": self.per_pixel,
            "learned": self.learned,
        }
