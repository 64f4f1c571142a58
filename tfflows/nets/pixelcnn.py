"""The masked convolutions of PixelCNN: the network of autoregressive layers on images."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfflows._backend import Shape, Tensor
from tfflows.errors import InputError
from tfflows.nets.base import Conditioner

Element = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@keras.saving.register_keras_serializable("tfflows")
class GatedBlock(keras.layers.Layer):
    """One layer of the vertical and the horizontal stack of PixelCNN, with C features each.

        v' = v + gate(K_v * v),   gate(a, b) = tanh(a) sigmoid(b)          (equation 2)
        h' = h + K_o gate(K_h * h + K_l v')

    K_v has ceil(n / 2) rows and n columns, of which the last row is that of the pixel itself, since v of a pixel has
    seen the rows above it alone; K_h has ceil(n / 2) columns up to the pixel's own; K_l and K_o are 1x1. A condition is
    added inside of both gates (equation 4). Other than in the paper v has a skip connection, and h reads v' in place of
    what is inside of its gate. No kernel is masked: what it must not see is cropped from its input.

    Args:
        width: C.
        kernel_size: n, odd.
        dropout: on what leaves the gates.
        condition_size: the channels of the condition, or 0.
        **kwargs: Keras's arguments of a layer.

    Reference:
        van den Oord et al. 2016, "Conditional image generation with PixelCNN decoders", arXiv 1606.05328, section 2.
    """

    def __init__(
        self, width: int, kernel_size: int = 3, dropout: float = 0.0, condition_size: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        self.width, self.kernel_size, self.dropout, self.condition_size = width, kernel_size, dropout, condition_size
        self.reach = (kernel_size + 1) // 2  # rows of K_v and columns of K_h

    def build(self, input_shape: Shape) -> None:
        c, reach = self.width, self.reach
        # Cast by `convolve` alone: sums, positions and the last layer stay as exact as the weights.
        add_weight = functools.partial(self.add_weight, autocast=False)
        self.vertical_kernel = add_weight((reach, self.kernel_size, c, 2 * c), name="vertical_kernel")
        self.vertical_bias = add_weight((2 * c,), "zeros", name="vertical_bias")
        self.horizontal_kernel = add_weight((1, reach, c, 2 * c), name="horizontal_kernel")
        self.link_kernel = add_weight((1, 1, c, 2 * c), name="link_kernel")
        self.link_bias = add_weight((2 * c,), "zeros", name="link_bias")
        self.out_kernel = add_weight((1, 1, c, c), name="out_kernel")
        if self.condition_size:
            self.condition_kernel = add_weight((self.condition_size, 4 * c), name="condition_kernel")
        self.drop = keras.layers.Dropout(self.dropout, dtype=self.variable_dtype)

    def vertical(self, v: Tensor, window: Tensor, condition: Tensor | None = None, training: bool = False) -> Tensor:
        """Returns v' of v [B, rows, W, C]; `window` is v with the `reach - 1` rows above it."""
        window = pad(window, columns=(self.kernel_size // 2,) * 2)
        gate = convolve(window, self.vertical_kernel, self.compute_dtype) + self.vertical_bias
        return v + self._gate(self._conditioned(gate, condition, slice(None, 2 * self.width)), training)

    def link(self, v: Tensor, condition: Tensor | None = None) -> Tensor:
        """Returns what the horizontal stack reads of v' [B, rows, W, C]: [B, rows, W, 2 C]."""
        link = convolve(v, self.link_kernel, self.compute_dtype) + self.link_bias
        return self._conditioned(link, condition, slice(2 * self.width, None))

    def horizontal(self, h: Tensor, window: Tensor, link: Tensor, training: bool = False) -> Tensor:
        """Returns h' of h [B, rows, columns, C]; `window` is h with the `reach - 1` columns on the left of it."""
        gate = convolve(window, self.horizontal_kernel, self.compute_dtype) + link
        return h + convolve(self._gate(gate, training), self.out_kernel, self.compute_dtype)

    def _gate(self, h: Tensor, training: bool) -> Tensor:
        a, b = ops.split(h, 2, axis=-1)
        return self.drop(ops.tanh(a) * ops.sigmoid(b), training=training)

    def _conditioned(self, h: Tensor, condition: Tensor | None, part: slice) -> Tensor:
        if not self.condition_size:
            return h
        return h + ops.matmul(ops.cast(condition, h.dtype), self.condition_kernel[:, part])[:, None, None]

    def get_config(self) -> dict[str, Any]:
        names = ("width", "kernel_size", "dropout", "condition_size")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable("tfflows")
class PixelCNN(Conditioner):
    """Masked convolutions whose outputs for a pixel see the integers of the pixels before it alone, row by row.

    x [B, n] of real numbers in [0, num_values), n = H W C, condition [B, N] -> [B, P, n]. The network reads floor(x),
    so that its outputs do not depend on the noise of dequantization. An image with several channels is read as
    one of W C columns, its channels side by side.

    A pixel has features v of the rows above it, and h of the pixels left of it, which also read v. The first layer
    sees 7x7 pixels and a bias for each position; then come the blocks, see `GatedBlock`, and a 1x1 convolution of h.

    Args:
        image_shape: [H, W, C].
        num_values: the number of grey values.
        width: the features of either stack.
        num_blocks: how many blocks.
        kernel_size: of the blocks, odd and at least 3.
        outputs: P n, or None, see `Conditioner`.
        dropout: in the blocks.
        condition_size: N, or 0.
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: an argument is out of range, or x is not [B, H W C].

    Reference:
        van den Oord et al. 2016, "Conditional image generation with PixelCNN decoders", arXiv 1606.05328, section 2.
    """

    FIRST = 7  # the size of the first kernel
    READ = 4  # the channels that `_read` makes of a value

    def __init__(
        self,
        image_shape: Shape,
        num_values: int = 256,
        width: int = 32,
        num_blocks: int = 5,
        kernel_size: int = 3,
        outputs: int | None = None,
        dropout: float = 0.0,
        condition_size: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(outputs, autocast=False, **kwargs)
        if kernel_size < 3 or kernel_size % 2 == 0 or num_values < 2 or len(image_shape) != 3:
            raise InputError(
                f"PixelCNN got image_shape={tuple(image_shape)}, num_values={num_values}, kernel_size={kernel_size}: "
                "give [H, W, C], at least 2 values and an odd kernel_size of at least 3."
            )
        self.image_shape, self.num_values = tuple(image_shape), num_values
        self.width, self.num_blocks, self.kernel_size = width, num_blocks, kernel_size
        self.dropout, self.condition_size = dropout, condition_size

    def build(self, input_shape: Shape) -> None:
        height, width, channels = self.image_shape
        self.size, self.rows, self.columns = height * width * channels, height, width * channels
        if tuple(input_shape[1:]) != (self.size,):
            raise InputError(
                f"PixelCNN of images {self.image_shape} takes x [B, {self.size}] and got shape {tuple(input_shape)}: "
                "put Flatten before it."
            )
        c, above = self.width, self.FIRST // 2
        add_weight = functools.partial(self.add_weight, autocast=False)  # as in `GatedBlock`
        self.first_vertical = add_weight((above, self.FIRST, self.READ, c), name="first_vertical")
        self.first_horizontal = add_weight((1, above, self.READ, c), name="first_horizontal")
        positions = (self.rows, self.columns, c)
        self.vertical_positions = add_weight(positions, "zeros", name="vertical_positions")
        self.horizontal_positions = add_weight(positions, "zeros", name="horizontal_positions")
        self.blocks = [
            GatedBlock(c, self.kernel_size, self.dropout, self.condition_size, dtype=self.dtype_policy)
            for _ in range(self.num_blocks)
        ]
        for block in self.blocks:
            block.build((None, self.rows, self.columns, c))
        self.last_kernel = add_weight((c, self.outputs // self.size), "zeros", name="last_kernel")
        self.last_bias = add_weight((self.outputs // self.size,), "zeros", name="last_bias")

    def call(self, x: Tensor, condition: Tensor | None = None, training: bool = False) -> Tensor:
        self._check_condition(condition)
        image = self._read(ops.reshape(x, (-1, self.rows, self.columns)))
        above = self.FIRST // 2
        v = self._vertical(pad(image[:, :-1], rows=(above, 0)), self.vertical_positions)
        h = self._horizontal(pad(image[:, :, :-1], columns=(above, 0)), self.horizontal_positions)
        for block in self.blocks:
            before = block.reach - 1
            v = block.vertical(v, pad(v, rows=(before, 0)), condition, training)
            h = block.horizontal(h, pad(h, columns=(before, 0)), block.link(v, condition), training)
        outputs = ops.reshape(self._last(h), (-1, self.size, self.outputs // self.size))
        return ops.transpose(outputs, (0, 2, 1))

    def solve(self, z: Tensor, element: Element, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns x and log-dets, both [B, n], such that x_i, log_det_i = element(z_i, outputs_i(x_1 .. x_(i-1))).

        `element` maps [B, 1] and outputs [B, P] to [B, 1] twice. The result is that of n passes of `call`, but each
        feature is computed once: v for a row at a time, from the rows above that the kernels reach, and then h for a
        pixel at a time, from the pixels on the left that they reach.
        """
        self._check_condition(condition)
        batch, above = ops.shape(z)[0], self.FIRST // 2
        z = ops.reshape(ops.transpose(z), (self.rows, self.columns, batch, 1))

        def solve_row(i: Tensor, carry: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            x, log_det, image, *rows = carry  # image and rows: what the kernels reach above row i
            v = self._vertical(image, ops.take(self.vertical_positions, [i], axis=0))
            links = []
            for b, block in enumerate(self.blocks):
                window = ops.concatenate([rows[b], v], axis=1)
                rows[b], v = window[:, 1:], block.vertical(v, window, condition)
                links.append(ops.transpose(block.link(v, condition), (2, 0, 1, 3))[:, :, None])  # [W, B, 1, 1, 2 C]
            positions = ops.take(self.horizontal_positions, i, axis=0)
            z_row = ops.take(z, i, axis=0)

            def solve_pixel(j: Tensor, carry: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
                x, log_det, image, *columns = carry  # image and columns: what the kernels reach left of pixel j
                h = self._horizontal(image, ops.take(positions, j, axis=0))  # [B, 1, 1, C]
                for b, block in enumerate(self.blocks):
                    window = ops.concatenate([columns[b], h], axis=2)
                    columns[b], h = window[:, :, 1:], block.horizontal(h, window, ops.take(links[b], j, axis=0))
                outputs = ops.reshape(self._last(h), (-1, self.outputs // self.size))
                x_j, log_det_j = element(ops.take(z_row, j, axis=0), outputs)
                here = np.arange(self.columns)[:, None, None] == j
                x, log_det = ops.where(here, x_j, x), ops.where(here, log_det_j, log_det)
                image = ops.concatenate([image[:, :, 1:], self._read(x_j)[:, None]], axis=2)
                return (x, log_det, image, *columns)

            left = ops.zeros((batch, 1, above, self.READ), z.dtype)
            columns = [ops.zeros((batch, 1, block.reach - 1, self.width), z.dtype) for block in self.blocks]
            empty = (ops.zeros_like(z_row), ops.zeros_like(z_row), left, *columns)
            x_row, log_det_row, *_ = ops.fori_loop(0, self.columns, solve_pixel, empty)
            here = np.arange(self.rows)[:, None, None, None] == i
            x, log_det = ops.where(here, x_row, x), ops.where(here, log_det_row, log_det)
            row = ops.transpose(self._read(x_row[..., 0]), (1, 0, 2))[:, None]  # [B, 1, W, READ]
            return (x, log_det, ops.concatenate([image[:, 1:], row], axis=1), *rows)

        image = ops.zeros((batch, above, self.columns, self.READ), z.dtype)
        rows = [ops.zeros((batch, block.reach - 1, self.columns, self.width), z.dtype) for block in self.blocks]
        x, log_det, *_ = ops.fori_loop(0, self.rows, solve_row, (ops.zeros_like(z), ops.zeros_like(z), image, *rows))
        return tuple(ops.transpose(ops.reshape(v, (self.size, batch))) for v in (x, log_det))

    def _check_condition(self, condition: Tensor | None) -> None:
        if self.condition_size and condition is None:
            raise InputError("This flow is conditional and got no condition: pass `condition`, [B, N].")

    def _read(self, x: Tensor) -> Tensor:
        """Returns what the network reads of x [...]: [..., READ].

        These are the integer scaled to [-1, 1], the constant 1, from which padding differs, and whether the integer is
        0 or the highest, which in many images is more than a shade: background, or ink.
        """
        k = ops.clip(ops.floor(ops.stop_gradient(x)), 0, self.num_values - 1)
        ends = [ops.cast(k == end, k.dtype) for end in (0, self.num_values - 1)]
        return ops.stack([k * (2.0 / (self.num_values - 1)) - 1.0, ops.ones_like(k), *ends], axis=-1)

    def _vertical(self, window: Tensor, positions: Tensor) -> Tensor:
        """Returns v of the rows after each `FIRST // 2` rows of `window` [B, rows, W, READ]: [B, rows, W, C]."""
        window = pad(window, columns=(self.FIRST // 2,) * 2)
        return convolve(window, self.first_vertical, self.compute_dtype) + positions

    def _horizontal(self, window: Tensor, positions: Tensor) -> Tensor:
        """Returns h of the columns after each `FIRST // 2` columns of `window` [B, rows, W, READ]: [B, rows, W, C]."""
        return convolve(window, self.first_horizontal, self.compute_dtype) + positions

    def _last(self, h: Tensor) -> Tensor:
        """Returns the outputs [B, ..., P] of h [B, ..., C]."""
        return ops.matmul(ops.relu(h), self.last_kernel) + self.last_bias

    # Keras's functional API matches these names with the arguments of `call`.
    def compute_output_shape(self, x_shape: Shape, condition_shape: Shape | None = None) -> tuple[int | None, ...]:
        return (x_shape[0], self.outputs // x_shape[-1], x_shape[-1])

    def get_config(self) -> dict[str, Any]:
        names = ("image_shape", "num_values", "width", "num_blocks", "kernel_size", "dropout", "condition_size")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def pad(x: Tensor, rows: tuple[int, int] = (0, 0), columns: tuple[int, int] = (0, 0)) -> Tensor:
    """Returns x [B, H, W, C] with zeros around it: before and after its rows and its columns."""
    return ops.pad(x, ((0, 0), rows, columns, (0, 0)))


def convolve(x: Tensor, kernel: Tensor, dtype: str) -> Tensor:
    """Returns the convolution of x [B, H, W, C] without padding, computed in `dtype`, in the dtype of x."""
    return ops.cast(ops.conv(ops.cast(x, dtype), ops.cast(kernel, dtype), padding="valid"), x.dtype)
