"""Coupling layers."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfflows import transformers
from tfflows._backend import Shape, Tensor
from tfflows.errors import InputError
from tfflows.layers import masks
from tfflows.layers.base import FlowLayer, build_conditioner, sum_event

MASKS = ("halves", "odd_even", "checkerboard")


@keras.saving.register_keras_serializable("tfflows")
class Coupling(FlowLayer):
    """Transforms one part of the event elementwise, with parameters that a network computes from the other part.

        x_passed = z_passed,   x_i = f(z_i; theta_i(z_passed)) for the others,   log|det dx/dz| = sum_i log|f'(z_i)|

    x, z [B, ..., C]. With f affine this is Dinh et al. 2017, equations 4-9; with f additive, Dinh et al. 2015,
    section 3.2. Additive and affine are arguments, not classes.

    Args:
        conditioner: a `Conditioner`, or another Keras layer, from the passed part ([B, ..., C'] with the condition
            appended to its channels) to the transformer's `num_parameters` channels for each transformed one.
        mask: "halves" of the last axis (channels of an image), "odd_even" places of the last axis, or "checkerboard"
            over the pixels, where the network sees the image with zeros in the transformed places and the mask as a
            further channel.
        flip: whether the two parts are exchanged.
        transformer: "affine", "additive", "spline" or a `Transformer`.
        condition_size: N, the channels of the condition.
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: there is no such mask, x has no such places, or the conditioner has another number of outputs.

    Reference:
        Dinh, Sohl-Dickstein and Bengio 2017, "Density estimation using Real NVP", arXiv 1605.08803, section 3.
    """

    def __init__(
        self,
        conditioner: keras.layers.Layer,
        mask: str = "halves",
        flip: bool = False,
        transformer: str | transformers.Transformer = "affine",
        condition_size: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if mask not in MASKS:
            raise InputError(f"Coupling got mask={mask!r}: use one of {', '.join(map(repr, MASKS))}.")
        self.conditioner, self.mask, self.flip = conditioner, mask, flip
        self.transformer = transformers.get(transformer)
        self.condition_size = condition_size

    @property
    def data_dependent(self) -> bool:
        return getattr(self.conditioner, "data_dependent", False)

    def build(self, input_shape: Shape) -> None:
        *lead, channels = input_shape
        if self.mask == "checkerboard" and len(input_shape) != 4:
            raise InputError(
                f"Coupling with mask 'checkerboard' takes images [B, H, W, C] and got shape {tuple(input_shape)}: use "
                "'halves' or 'odd_even'."
            )
        if self.mask == "checkerboard":
            mask = masks.checkerboard(*lead[1:]) ^ self.flip  # [H, W, 1]
            self._mask = np.broadcast_to(mask, (*lead[1:], channels))
            passed, transformed = channels + 1, channels
        else:
            mask = getattr(masks, self.mask)(channels) ^ self.flip
            self._passed, self._transformed = np.flatnonzero(mask), np.flatnonzero(~mask)
            passed, transformed = len(self._passed), len(self._transformed)
        if not passed or not transformed:
            raise InputError(f"Coupling with mask {self.mask!r} cannot divide {channels} channel: it needs at least 2.")
        outputs = self.transformer.num_parameters * transformed
        build_conditioner(self.conditioner, (*lead, passed + self.condition_size), outputs)
        if not self.transformer.built:
            self.transformer.build((*lead[1:], transformed))

    def forward_and_log_det(
        self, z: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        return self._transform(z, condition, training, inverse=False)[:2]

    def inverse_and_log_det(
        self, x: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        return self._transform(x, condition, training, inverse=True)[:2]

    def inverse_and_local_log_det(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, _, local = self._transform(x, condition, training=False, inverse=True)
        return z, local if self.mask == "checkerboard" else self._join(ops.zeros_like(self._divide(x)[0]), local)

    def initialize(self, x: Tensor, condition: Tensor | None = None) -> None:
        if self.data_dependent:
            self.conditioner.initialize(self._with_condition(self._divide(x)[0], condition))

    def _transform(
        self, x: Tensor, condition: Tensor | None, training: bool, inverse: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the result, its log-det [B], and the log-det's parts of the elements that are transformed."""
        passed, part = self._divide(x)
        outputs = self.conditioner(self._with_condition(passed, condition), training=training)
        bijector = self.transformer.bijector(ops.cast(outputs, self.dtype))  # a Keras network's may be bfloat16
        if inverse:
            y, log_det = bijector.inverse(part), bijector.inverse_log_det_jacobian(part, event_ndims=0)
        else:
            y, log_det = bijector.forward(part), bijector.forward_log_det_jacobian(part, event_ndims=0)
        if self.mask == "checkerboard":
            y, log_det = ops.where(self._mask, x, y), ops.where(self._mask, ops.zeros_like(x), log_det)
        else:
            if log_det.shape != y.shape:
                log_det = ops.broadcast_to(log_det, ops.shape(y))
            y = self._join(passed, y)
        return y, sum_event(log_det), log_det

    def _divide(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what the conditioner sees of x, and what is transformed: of a checkerboard both are whole images."""
        if self.mask == "checkerboard":
            masked = x * self._mask.astype(self.dtype)
            mask = ops.broadcast_to(self._mask[None, ..., :1].astype(self.dtype), (*ops.shape(x)[:-1], 1))
            return ops.concatenate([masked, mask], axis=-1), x
        if self._are_equal_halves():
            # By a further axis: in a graph the gradient of `stack` is `unstack`, that of a join two slices.
            first, second = ops.unstack(ops.reshape(x, (-1, *x.shape[1:-1], 2, x.shape[-1] // 2)), axis=-2)
            return (second, first) if self._transformed[0] == 0 else (first, second)
        return _take(x, self._passed), _take(x, self._transformed)

    def _are_equal_halves(self) -> bool:
        return self.mask == "halves" and len(self._passed) == len(self._transformed)

    def _with_condition(self, passed: Tensor, condition: Tensor | None) -> Tensor:
        if not self.condition_size:
            return passed
        return ops.concatenate([passed, spread(condition, passed)], axis=-1)

    def _join(self, passed: Tensor, transformed: Tensor) -> Tensor:
        if self.mask == "halves":  # both parts are contiguous: no gather
            parts = [transformed, passed] if self._transformed[0] == 0 else [passed, transformed]
            if self._are_equal_halves():
                return ops.reshape(ops.stack(parts, axis=-2), (-1, *passed.shape[1:-1], 2 * passed.shape[-1]))
            return ops.concatenate(parts, axis=-1)
        order = np.argsort(np.concatenate([self._passed, self._transformed]))
        return ops.take(ops.concatenate([passed, transformed], axis=-1), order, axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "conditioner": keras.saving.serialize_keras_object(self.conditioner),
            "mask": self.mask,
            "flip": self.flip,
            "transformer": keras.saving.serialize_keras_object(self.transformer),
            "condition_size": self.condition_size,
        }


def spread(condition: Tensor | None, x: Tensor) -> Tensor:
    """Repeats a condition [B, N] over the pixels of x [B, H, W, C]: [B, H, W, N]; one of that shape stays as it is.

    Raises:
        InputError: there is no condition.
    """
    if condition is None:
        raise InputError("This flow is conditional and got no condition: pass `condition`, [B, N].")
    condition = ops.cast(condition, x.dtype)
    if len(condition.shape) == len(x.shape):
        return condition
    for _ in x.shape[1:-1]:
        condition = ops.expand_dims(condition, 1)
    return ops.broadcast_to(condition, (*ops.shape(x)[:-1], condition.shape[-1]))


def _take(x: Tensor, indices: np.ndarray) -> Tensor:
    """Returns x[..., indices] for indices with one stride, as a slice: its gradient is a pad and not a scatter."""
    step = int(indices[1] - indices[0]) if len(indices) > 1 else 1
    return x[..., int(indices[0]) : int(indices[-1]) + 1 : step]
