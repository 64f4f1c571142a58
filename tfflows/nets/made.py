"""The masked network of autoregressive layers, and the solution of x from z for the arithmetic of about one pass."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from tfflows._backend import Shape, Tensor, autodiff, flow_dtype
from tfflows.errors import InputError
from tfflows.nets.base import Conditioner
from tfflows.nets.masked import MaskedKernel

BLOCK = 16  # dimensions that are solved one by one between two large matrix products


@keras.saving.register_keras_serializable("tfflows")
class MADE(Conditioner):
    """A multilayer perceptron whose outputs for dimension i see the inputs before i alone.

    x [B, n], condition [B, N] -> [B, P, n]. The weights are masked by the units' degrees (`made_degrees`);
    the condition has degree 0: every unit sees it. Hidden units are sorted by degree, so that those that become
    known together are contiguous.

    It computes in float32 (or float64) whatever Keras's policy says: `call` and `solve` sum in different orders, and
    in half precision the two directions of the flow would disagree.

    Args:
        hidden: the widths of the hidden layers, one at least.
        outputs: P n, or None, see `Conditioner`.
        degrees: "sequential" or "random".
        activation: of the hidden layers, as Keras takes it.
        dropout: after each hidden layer.
        l2: the penalty on the kernels.
        condition_size: N, or 0.
        seed: of random degrees.
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: there is no hidden layer.

    Reference:
        Germain, Gregor, Murray and Larochelle 2015, "MADE", arXiv 1502.03509, sections 3 and 4.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (64, 64),
        outputs: int | None = None,
        degrees: Literal["sequential", "random"] = "sequential",
        activation: str | Callable[[Tensor], Tensor] = "relu",
        dropout: float = 0.0,
        l2: float = 0.0,
        condition_size: int = 0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(outputs, **{"dtype": flow_dtype(), **kwargs})
        if not hidden:
            raise InputError("MADE got hidden=(): give it the width of at least one hidden layer.")
        self.hidden, self.degrees, self.activation = tuple(hidden), degrees, activation
        self.dropout, self.l2, self.condition_size, self.seed = dropout, l2, condition_size, seed
        self._activation = keras.activations.get(activation)

    def build(self, input_shape: Shape) -> None:
        n = self.size = input_shape[-1]
        lowest = 0 if self.condition_size else 1
        self._degrees = made_degrees(n, self.hidden, self.degrees, lowest, self.seed)

        regularizer = keras.regularizers.L2(self.l2) if self.l2 else None
        shapes = [*zip((n, *self.hidden), self.hidden, strict=False), (self.hidden[-1], self.outputs // n, n)]
        self.kernels, self.biases = [], []
        for index, shape in enumerate(shapes):
            last = shape is shapes[-1]
            kernel = MaskedKernel(
                "zeros" if last else "he_normal",
                shape,
                self._degrees[index : index + 2],
                regularizer,
                dtype=self.variable_dtype,
                autocast=False,
                name="kernel_last" if last else f"kernel_{index}",
            )
            self.kernels.append(kernel)
            name = "bias_last" if last else f"bias_{index}"
            self.biases.append(self.add_weight(shape=shape[1:], initializer="zeros", autocast=False, name=name))
        if self.condition_size:
            shape = (self.condition_size, self.hidden[0])
            self.condition_kernel = self.add_weight(
                shape=shape, initializer="he_normal", regularizer=regularizer, autocast=False, name="condition_kernel"
            )
        self.drop = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)

    def call(self, x: Tensor, condition: Tensor | None = None, training: bool = False) -> Tensor:
        kernels, biases = self._weights(condition)
        for kernel, bias in zip(kernels[:-1], biases[:-1], strict=True):
            x = self.drop(self._activation(autodiff.product(x, kernel) + bias), training=training)
        shape = kernels[-1].shape  # [H, P, n]
        outputs = autodiff.product(x, ops.reshape(kernels[-1], (shape[0], -1)))
        return ops.reshape(outputs, (-1, *shape[1:])) + biases[-1]

    def solve(
        self, z: Tensor, element: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns x and log-dets, both [B, n], such that x_i, log_det_i = element(z_i, outputs_i(x_1 .. x_(i-1))).

        `element` maps [B, 1] and outputs [B, P] to [B, 1] twice. The result is that of n passes of `call`, but a
        hidden unit is computed when the inputs it sees are known and not again: by blocks of dimensions, one matrix
        product of all that is known before the block with the columns of the units that become known within it,
        then a loop over the block's dimensions on these few units. Columns beyond the block (windows have a static
        size) hold partial sums that no known unit reads, and a later block overwrites them.
        """
        kernels, biases = self._weights(condition)
        n, block = self.size, min(BLOCK, self.size)
        starts = np.minimum(np.arange(0, n, block), n - block)
        windows = [(starts, block), *(_windows(degrees, starts, block) for degrees in self._degrees[1:-1])]
        sizes = [size for _, size in windows]
        table = np.stack([first for first, _ in windows], axis=1).astype("int32")  # [blocks, 1 + hidden layers]
        # The batch is the last axis here, so that slices of dimensions are contiguous in memory.
        z, biases = ops.transpose(z), [ops.transpose(bias) for bias in biases]

        def solve_block(index: Tensor, carry: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            *known, log_det = carry
            at = ops.unstack(ops.take(ops.convert_to_tensor(table), index, axis=0), len(sizes))
            known = [
                _write(v, first, ops.zeros_like(v[:size])) for v, first, size in zip(known, at, sizes, strict=True)
            ]
            within, before = [], []  # for each kernel: its part inside of the block, and the sums over what is known
            for i, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
                to = (i + 1) % len(sizes)  # the last kernel leads back to the dimensions
                columns = ops.transpose(_window(kernel, at[to], sizes[to], axis=-1))  # [U, in] or [block, P, H]
                before.append(ops.tensordot(columns, known[i], axes=1) + _window(bias, at[to], sizes[to]))
                within.append(_window(columns, at[i], sizes[i], axis=-1))

            def hidden(x: Tensor) -> list[Tensor]:
                values = [x]  # [block, B]
                for kernel, rest in zip(within[:-1], before[:-1], strict=True):
                    values.append(self._activation(ops.matmul(kernel, values[-1]) + rest))
                return values

            def solve_dimension(j: Tensor, carry: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
                x, log_det = carry
                outputs = ops.matmul(within[-1][j], hidden(x)[-1]) + before[-1][j]  # [P, B]
                x_j, log_det_j = element(ops.transpose(z_here[j][None]), ops.transpose(outputs))
                here = np.arange(block)[:, None] == j
                return ops.where(here, ops.transpose(x_j), x), ops.where(here, ops.transpose(log_det_j), log_det)

            z_here = _window(z, at[0], block)
            x, log_det_here = ops.fori_loop(0, block, solve_dimension, (ops.zeros_like(z_here),) * 2)
            known = [_write(v, first, values) for v, first, values in zip(known, at, hidden(x), strict=True)]
            return (*known, _write(log_det, at[0], log_det_here))

        empty = [ops.zeros((size, ops.shape(z)[1]), z.dtype) for size in (n, *self.hidden, n)]
        x, *_, log_det = ops.fori_loop(0, len(starts), solve_block, tuple(empty))
        return ops.transpose(x), ops.transpose(log_det)

    def _weights(self, condition: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
        """Returns the kernels, and the biases, the first with the condition's part: [B, H]."""
        kernels = [kernel.read() for kernel in self.kernels]
        biases = [ops.convert_to_tensor(bias)[None] for bias in self.biases]
        if self.condition_size:
            if condition is None:
                raise InputError("This flow is conditional and got no condition: pass `condition`, [B, N].")
            condition = ops.cast(condition, self.compute_dtype)
            biases[0] = biases[0] + ops.matmul(condition, self.condition_kernel)
        return kernels, biases

    # Keras's functional API matches these names with the arguments of `call`.
    def compute_output_shape(self, x_shape: Shape, condition_shape: Shape | None = None) -> tuple[int | None, ...]:
        return (x_shape[0], self.outputs // x_shape[-1], x_shape[-1])

    def get_config(self) -> dict[str, Any]:
        names = ("hidden", "degrees", "activation", "dropout", "l2", "condition_size", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def made_degrees(
    size: int, hidden: Sequence[int], mode: str = "sequential", lowest: int = 1, seed: int = 0
) -> list[np.ndarray]:
    """Returns the degrees of the units of a MADE, one array [width] for each layer: inputs, hidden layers, outputs.

    A unit is connected to those of the layer before whose degree is not above its own. Input i (of 1 .. size) has
    degree i and output i degree i - 1, so that it sees the inputs before i alone. Hidden units of degree m see the
    inputs 1 .. m; they are sorted. "sequential" runs through lowest .. size - 1 again and again; "random" draws from
    there, but not below the layer before, where a unit would see nothing (Germain et al. 2015, arXiv 1502.03509,
    section 4). `lowest` is 0 where a condition gives units that see no input something to do.
    """
    if mode not in ("sequential", "random"):
        raise InputError(f"The degrees of a MADE are 'sequential' or 'random', not {mode!r}.")
    random, degrees = np.random.RandomState(seed), [np.arange(1, size + 1)]
    low = min(lowest, size - 1)
    for width in hidden:
        if mode == "random":
            degrees.append(np.sort(random.randint(low, size, size=width)))
            low = int(degrees[-1][0])
        else:
            degrees.append(np.sort(np.arange(width) % (size - low) + low))
    return [layer.astype("int32") for layer in (*degrees, np.arange(size))]


def _windows(degrees: np.ndarray, starts: np.ndarray, block: int) -> tuple[np.ndarray, int]:
    """Returns where the units that become known with dimensions start .. start + block - 1 begin, and the most."""
    first = np.searchsorted(degrees, starts)
    width = int(np.max(np.searchsorted(degrees, starts + block) - first))
    return np.minimum(first, len(degrees) - width), width


def _window(v: Tensor, start: int | Tensor, size: int, axis: int = 0) -> Tensor:
    """Returns v[start : start + size] along one axis, for a start known when the graph runs."""
    axis %= len(v.shape)
    shape = [size if i == axis else extent for i, extent in enumerate(ops.shape(v))]
    return ops.slice(v, [start if i == axis else np.int32(0) for i in range(len(shape))], shape)


def _write(v: Tensor, start: int | Tensor, values: Tensor) -> Tensor:
    """Returns v with `values` in the rows from `start` on; `ops.slice_update` is slow on TensorFlow without XLA."""
    return ops.scatter_update(v, start + np.arange(values.shape[0], dtype="int32")[:, None], values)
