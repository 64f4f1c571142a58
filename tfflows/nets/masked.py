"""The kernel of a masked layer."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfflows._backend import Shape, Tensor, autodiff


class MaskedKernel(keras.Variable):
    """A weight [H, ..., G] that is zero where one of G units would see one of H units of a higher degree.

    What is assigned to it is masked then, so that a pass of the network needs no mask. Its gradients are masked, too:
    norms by which they are clipped and moments of the optimizer see the real weights alone, and updates keep the zeros,
    if they are element by element: `tfflows.flow.optimizers.Muon` updates these kernels as Adam does.

    Args:
        initializer: of the whole kernel, as Keras takes it.
        shape: of the kernel.
        degrees: of the H and of the G units.
        regularizer: of the kernel, or None.
        **kwargs: Keras's arguments of a variable.
    """

    def __init__(
        self,
        initializer: str | Callable[..., Tensor],
        shape: Shape,
        degrees: Sequence[np.ndarray],
        regularizer: keras.regularizers.Regularizer | None = None,
        **kwargs: Any,
    ) -> None:
        inputs, outputs = degrees
        self._degrees = inputs.reshape(-1, *(1,) * (len(shape) - 1)), outputs
        draw = keras.initializers.get(initializer)
        super().__init__(lambda shape, dtype=None: self._mask(draw(shape, dtype)), shape=shape, **kwargs)
        self.regularizer = regularizer

    def assign(self, value: Any) -> Tensor:
        """Assigns `value`, masked, and returns what was assigned."""
        return super().assign(self._mask(self._convert_to_tensor(value, dtype=self._dtype)))

    def read(self) -> Tensor:
        """Returns the kernel as a tensor with masked gradients."""
        masked = autodiff.custom_gradient(
            lambda kernel: (kernel,), lambda inputs, outputs, cotangents: (self._mask(cotangents[0]),)
        )
        return masked(ops.convert_to_tensor(self))[0]

    def _mask(self, kernel: Tensor) -> Tensor:
        # Compared in the graph: as constants the masks would be as large as the weights. `where` takes twice as long.
        inputs, outputs = map(ops.convert_to_tensor, self._degrees)
        return kernel * ops.cast(inputs <= outputs, kernel.dtype)
