"""Coupling layers."""

import keras
import numpy as np
from keras import ops

from tfflows import transformers
from tfflows.errors import InputError
from tfflows.layers import masks
from tfflows.layers.base import FlowLayer, sum_event

MASKS = ("halves", "odd_even", "checkerboard")


@keras.saving.register_keras_serializable("tfflows")
class Coupling(FlowLayer):
    """Transforms one part of the event elementwise, with parameters that a network computes from the other part.

        x_passed = z_passed,   x_i = f(z_i; theta_i(z_passed)) for the others,   log|det dx/dz| = sum_i log|f'(z_i)|

    x, z [B, ..., C]. With f affine this is Dinh et al. 2017, equations 4-9; with f additive, Dinh et al. 2015,
    section 3.2. Additive and affine are arguments, not classes.

    Arguments: `conditioner`, a Keras layer that maps the passed part ([B, ..., C'] with the condition appended to its
    channels) to `num_parameters` channels for each transformed one; if it has an attribute `outputs` that is None, it
    is set to that number. `mask`: "halves" of the last axis (channels of an image), "odd_even" places of the last
    axis, or "checkerboard" over the pixels, whose conditioner sees the image with zeros in the transformed places and
    the mask as a further channel. `flip` exchanges the two parts. `transformer`: "affine", "additive" or a
    `Transformer`. `condition_size`: channels N of the condition.

    Errors: ValueError for a mask that does not exist or a conditioner of the wrong width.
    """

    def __init__(self, conditioner, mask="halves", flip=False, transformer="affine", condition_size=0, **kwargs):
        super().__init__(**kwargs)
        if mask not in MASKS:
            raise InputError(f"Coupling got mask={mask!r}: use one of {', '.join(map(repr, MASKS))}.")
        self.conditioner, self.mask, self.flip = conditioner, mask, flip
        self.transformer = transformers.get(transformer)
        self.condition_size = condition_size

    @property
    def data_dependent(self):
        return getattr(self.conditioner, "data_dependent", False)

    def build(self, input_shape):
        *lead, channels = input_shape
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
        if getattr(self.conditioner, "outputs", outputs) is None:
            self.conditioner.outputs = outputs
        conditioner_shape = (*lead, passed + self.condition_size)
        if not self.conditioner.built:
            self.conditioner.build(conditioner_shape)
        width = self.conditioner.compute_output_shape(conditioner_shape)[-1]
        if width != outputs:
            raise InputError(
                f"The conditioner of this coupling returns {width} channels: {outputs} are needed, "
                f"{self.transformer.num_parameters} for each of the {transformed} channels transformed."
            )
        if not self.transformer.built:
            self.transformer.build((*lead[1:], transformed))

    def forward_and_log_det(self, z, condition=None, training=False):
        return self._transform(z, condition, training, inverse=False)

    def inverse_and_log_det(self, x, condition=None, training=False):
        return self._transform(x, condition, training, inverse=True)

    def initialize(self, x, condition=None):
        if self.data_dependent:
            self.conditioner.initialize(self._with_condition(self._divide(x)[0], condition))

    def _transform(self, x, condition, training, inverse):
        passed, part = self._divide(x)
        outputs = self.conditioner(self._with_condition(passed, condition), training=training)
        bijector = self.transformer.bijector(outputs)
        if inverse:
            y, log_det = bijector.inverse(part), bijector.inverse_log_det_jacobian(part, event_ndims=0)
        else:
            y, log_det = bijector.forward(part), bijector.forward_log_det_jacobian(part, event_ndims=0)
        if self.mask == "checkerboard":
            y, log_det = ops.where(self._mask, x, y), ops.where(self._mask, ops.zeros_like(x), log_det)
        else:
            y, log_det = self._join(passed, y), ops.broadcast_to(log_det, ops.shape(y))
        return y, sum_event(log_det)

    def _divide(self, x):
        """What the conditioner sees of x, and what is transformed. A checkerboard's parts are images, not vectors."""
        if self.mask == "checkerboard":
            masked = x * self._mask.astype(self.dtype)
            mask = ops.broadcast_to(self._mask[None, ..., :1].astype(self.dtype), (*ops.shape(x)[:-1], 1))
            return ops.concatenate([masked, mask], axis=-1), x
        if self.mask == "halves" and len(self._passed) == len(self._transformed):
            first, second = ops.split(x, 2, axis=-1)  # faster than two slices, each with a gradient of x's size
            return (second, first) if self._transformed[0] == 0 else (first, second)
        return _take(x, self._passed), _take(x, self._transformed)

    def _with_condition(self, passed, condition):
        if not self.condition_size:
            return passed
        return ops.concatenate([passed, spread(condition, passed)], axis=-1)

    def _join(self, passed, transformed):
        if self.mask == "halves":  # both parts are contiguous: no gather
            in_front = self._transformed[0] == 0
            return ops.concatenate([transformed, passed] if in_front else [passed, transformed], axis=-1)
        order = np.argsort(np.concatenate([self._passed, self._transformed]))
        return ops.take(ops.concatenate([passed, transformed], axis=-1), order, axis=-1)

    def get_config(self):
        return {
            **super().get_config(),
            "conditioner": keras.saving.serialize_keras_object(self.conditioner),
            "mask": self.mask,
            "flip": self.flip,
            "transformer": keras.saving.serialize_keras_object(self.transformer),
            "condition_size": self.condition_size,
        }

    @classmethod
    def from_config(cls, config):
        parts = {key: keras.saving.deserialize_keras_object(config[key]) for key in ("conditioner", "transformer")}
        return cls(**{**config, **parts})


def spread(condition, x):
    """A condition [B, N] repeated over the pixels of x [B, H, W, C]: [B, H, W, N]; [B, H, W, N] stays as it is."""
    if condition is None:
        raise InputError("This flow is conditional and got no condition: pass `condition`, [B, N].")
    condition = ops.cast(condition, x.dtype)
    if len(condition.shape) == len(x.shape):
        return condition
    for _ in x.shape[1:-1]:
        condition = ops.expand_dims(condition, 1)
    return ops.broadcast_to(condition, (*ops.shape(x)[:-1], condition.shape[-1]))


def _take(x, indices):
    """x[..., indices] for indices with one stride, as a slice: its gradient is a pad and not a scatter."""
    step = int(indices[1] - indices[0]) if len(indices) > 1 else 1
    return x[..., int(indices[0]) : int(indices[-1]) + 1 : step]
