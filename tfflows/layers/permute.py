"""A fixed reordering of the last axis. Volume-preserving, log-det 0."""

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from tfflows._backend import Shape, Tensor
from tfflows.errors import InputError
from tfflows.layers.base import FlowLayer


@keras.saving.register_keras_serializable("tfflows")
class Permute(FlowLayer):
    """Reorders the last axis: x[..., i] = z[..., permutation[i]].

    x, z [B, ..., C].

    Args:
        permutation: "reverse", as between the layers of a MAF (Papamakarios et al. 2017), or the seed of a random
            permutation, which is the same wherever the layer is rebuilt.
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: `permutation` is anything else.
    """

    rearranges = True

    def __init__(self, permutation: int | Literal["reverse"] = "reverse", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if permutation != "reverse" and not isinstance(permutation, int):
            raise InputError(f"Permute got permutation={permutation!r}: use 'reverse' or an integer seed.")
        self.permutation = permutation

    def build(self, input_shape: Shape) -> None:
        order = np.arange(input_shape[-1])
        if self.permutation == "reverse":
            self.order = order[::-1].copy()
        else:
            self.order = np.random.RandomState(self.permutation).permutation(order)

    def forward_and_log_det(
        self, z: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        return self._reorder(z, self.order), ops.zeros(ops.shape(z)[:1], z.dtype)

    def inverse_and_log_det(
        self, x: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        return self._reorder(x, np.argsort(self.order)), ops.zeros(ops.shape(x)[:1], x.dtype)

    def _reorder(self, x: Tensor, order: np.ndarray) -> Tensor:
        if self.permutation == "reverse":  # on a CPU a tenth of the time of TensorFlow's gather along the last axis
            return ops.flip(x, axis=-1)
        return ops.take(x, order.astype("int32"), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "permutation": self.permutation}
