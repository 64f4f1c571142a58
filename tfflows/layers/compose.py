"""Composition of flow layers."""

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any, Literal, Self

import keras
from keras import ops

from tfflows._backend import Shape, Tensor
from tfflows.errors import InputError
from tfflows.layers import mixing
from tfflows.layers import recompute as recomputation
from tfflows.layers.base import INITIAL_BATCH, FlowLayer


class _Composite(FlowLayer):
    """The base of Chain and Multiscale: a list of flow layers from latent to data."""

    def __init__(self, layers: Iterable[FlowLayer], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layers = list(layers)
        for layer in self.layers:
            if not isinstance(layer, FlowLayer):
                raise InputError(f"{type(self).__name__} takes a list of flow layers and got {layer!r}.")
        if not self.layers:
            raise InputError(f"{type(self).__name__} got an empty list: give it at least one flow layer.")

    @property
    def data_dependent(self) -> bool:
        return any(layer.data_dependent for layer in self.layers)

    @property
    def condition_size(self) -> int:
        return max(layer.condition_size for layer in self.layers)

    @property
    def invertible_in_training(self) -> bool:
        return all(layer.invertible_in_training for layer in self.layers)

    def get_config(self) -> dict[str, Any]:
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.layers]
        return {**super().get_config(), "layers": layers}


@keras.saving.register_keras_serializable("tfflows")
class Chain(_Composite):
    """The composition of flow layers listed from latent to data: x = f_last(... f_first(z)).

    log|det dx/dz| is the sum of the layers'. The latent shape is that of the first layer.

    Args:
        layers: the flow layers, one at least.
        recompute: None, where training stores what the backward pass needs of every layer, or "inverse", where the
            backward pass computes each layer's input from its output instead, which takes about half as much time
            again. What cannot be computed so (batch normalisation in training) is stored.
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: the list is empty, or an element is no flow layer.
    """

    def __init__(self, layers: Iterable[FlowLayer], recompute: Literal["inverse"] | None = None, **kwargs: Any) -> None:
        super().__init__(layers, **kwargs)
        if recompute not in (None, "inverse"):
            raise InputError(f"Chain got recompute={recompute!r}: use None or 'inverse'.")
        self.recompute = recompute

    @classmethod
    def from_data(cls, layers: Iterable[FlowLayer], **kwargs: Any) -> Self:
        """Returns the chain of `layers` listed from data to latent, the order in which a density is computed.

        Args:
            layers: the flow layers; `chain.layers` has them from latent to data all the same.
            **kwargs: the arguments of the constructor.
        """
        return cls(list(layers)[::-1], **kwargs)

    def build(self, input_shape: Shape) -> None:
        shape = tuple(input_shape[1:])
        for layer in reversed(self.layers):
            if not layer.built:
                layer.build((None, *shape))
            shape = layer.latent_shape(shape)

    def latent_shape(self, event_shape: Shape) -> tuple[int, ...]:
        for layer in reversed(self.layers):
            event_shape = layer.latent_shape(event_shape)
        return tuple(event_shape)

    def forward_and_log_det(
        self, z: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        total = 0.0
        for layer in mixing.merged(self.layers, density=False):
            z, log_det = layer.forward_and_log_det(z, condition=condition, training=training)
            total = total if log_det is None else total + log_det
        return z, total

    def inverse_and_log_det(
        self, x: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        total, from_data = 0.0, self.layers[::-1]
        rebuild = training and self.recompute is not None
        for rebuilt, run in itertools.groupby(from_data, lambda layer: rebuild and layer.invertible_in_training):
            if rebuilt:
                x, log_det = recomputation.inverse_and_log_det(list(run), x, condition)
                total = total + log_det
                continue
            for layer in mixing.merged(run, density=True):
                x, log_det = layer.inverse_and_log_det(x, condition=condition, training=training)
                total = total if log_det is None else total + log_det
        return x, total

    @property
    def initial_images(self) -> int:
        """How many images the layer at the data end wants; the layers after it get the first `INITIAL_BATCH`."""
        return self.layers[-1].initial_images

    def inverse_and_local_log_det(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        parts = []
        for layer in reversed(self.layers):
            x, part = layer.inverse_and_local_log_det(x, condition)
            parts.append(part)
        local = parts.pop()  # of the layer at the latent end
        for layer in self.layers[1:]:
            local = layer.locate(local) + parts.pop()
        return x, local

    def locate(self, values: Tensor) -> Tensor:
        for layer in self.layers:
            values = layer.locate(values)
        return values

    def initialize(self, x: Tensor, condition: Tensor | None = None) -> None:
        for layer in reversed(self.layers):
            layer.initialize(x, condition)
            if self.initial_images:
                x, condition = x[:INITIAL_BATCH], None if condition is None else condition[:INITIAL_BATCH]
            x, _ = layer.inverse_and_log_det(x, condition=condition)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "recompute": self.recompute}


@keras.saving.register_keras_serializable("tfflows")
class Multiscale(_Composite):
    """Factors out half of the channels between levels (Dinh et al. 2017, section 3.6, equations 14-16).

        h_0 = x,   (z_i, h_i) = halves of the channels of f_i(h_{i-1}),   z_L = f_L(h_{L-1})

    x [B, H, W, C] <-> z [B, H W C], flat: the last level's part first, then the halves factored out, the one nearest
    to the data last.

    Args:
        layers: the flow layers of the levels, listed from latent to data like Chain's: f_L first, f_1 last.
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: in `build`, where a level but f_L gives an odd number of channels.
    """

    def build(self, input_shape: Shape) -> None:
        shape = tuple(input_shape[1:])
        self._shapes = []  # of each level's output, from data to latent
        for layer in reversed(self.layers):
            if not layer.built:
                layer.build((None, *shape))
            shape = layer.latent_shape(shape)
            self._shapes.append(shape)
            if len(self._shapes) < len(self.layers):
                if shape[-1] % 2:
                    raise InputError(
                        f"Multiscale factors out half of the channels and level {len(self._shapes)} from the data "
                        f"gives {shape[-1]}: squeeze in that level, or use fewer levels."
                    )
                shape = (*shape[:-1], shape[-1] // 2)

    def latent_shape(self, event_shape: Shape) -> tuple[int, ...]:
        return (math.prod(event_shape),)

    def forward_and_log_det(
        self, z: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        log_dets = []

        def forward(layer: FlowLayer, h: Tensor) -> Tensor:
            x, log_det = layer.forward_and_log_det(h, condition=condition, training=training)
            log_dets.append(log_det)
            return x

        return self._assemble(z, forward), sum(log_dets)

    def locate(self, values: Tensor) -> Tensor:
        return self._assemble(values, lambda layer, h: layer.locate(h))

    def _assemble(self, z: Tensor, step: Callable[[FlowLayer, Tensor], Tensor]) -> Tensor:
        """Puts the parts of a flat z together, level by level, each of them mapped by `step`."""
        h, start = None, 0
        for layer, shape in zip(self.layers, reversed(self._shapes), strict=True):
            if h is not None:
                shape = (*shape[:-1], shape[-1] // 2)
            size = math.prod(shape)
            part = ops.reshape(z[:, start : start + size], (-1, *shape))
            start += size
            h = step(layer, part if h is None else ops.concatenate([h, part], axis=-1))
        return h

    def inverse_and_log_det(
        self, x: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        log_dets = []

        def inverse(layer: FlowLayer, x: Tensor) -> Tensor:
            z, log_det = layer.inverse_and_log_det(x, condition=condition, training=training)
            log_dets.append(log_det)
            return z

        return self._take_apart(x, inverse), sum(log_dets)

    def inverse_and_local_log_det(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        parts = []

        def inverse(layer: FlowLayer, x: Tensor) -> Tensor:
            z, part = layer.inverse_and_local_log_det(x, condition)
            parts.append(part)
            return z

        z, local = self._take_apart(x, inverse), parts.pop()
        for layer in self.layers[1:]:
            half = ops.concatenate([local, ops.zeros_like(local)], axis=-1)  # factored out: no further log-det
            local = layer.locate(half) + parts.pop()
        return z, local

    def _take_apart(self, x: Tensor, step: Callable[[FlowLayer, Tensor], Tensor]) -> Tensor:
        """Maps x by `step`, level by level, and returns the halves that are factored out as a flat z."""
        parts = []
        for layer, shape in zip(reversed(self.layers), self._shapes, strict=True):
            x = step(layer, x)
            if layer is not self.layers[0]:
                x, part = ops.split(x, 2, axis=-1)
                parts.append(ops.reshape(part, (-1, math.prod(shape) // 2)))
        parts.append(ops.reshape(x, (-1, math.prod(self._shapes[-1]))))
        return ops.concatenate(parts[::-1], axis=-1)

    def initialize(self, x: Tensor, condition: Tensor | None = None) -> None:
        for layer in reversed(self.layers):
            layer.initialize(x, condition)
            x, _ = layer.inverse_and_log_det(x, condition=condition)
            if layer is not self.layers[0]:
                x, _ = ops.split(x, 2, axis=-1)
