"""A fixed reordering of the last axis. Volume-preserving, log-det 0."""

from typing import Any, Literal

import keras
import numpy as np

from tfflows._backend import Shape, tfb
from tfflows.errors import InputError
from tfflows.layers.base import BijectorLayer


@keras.saving.register_keras_serializable("tfflows")
class Permute(BijectorLayer):
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

    def bijector(self) -> tfb.Bijector:
        return tfb.Permute(self.order.astype("int32"), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "permutation": self.permutation}
