"""The contract of every flow layer, and the same contract from one TFP bijector.

Direction, as in TFP: forward z -> x is sampling, inverse x -> z is density.
"""

from typing import Any, Self

import keras
from keras import ops

from tfflows._backend import DensityLayer, Shape, Tensor, tfb, uncached
from tfflows.errors import InputError, UnsupportedError

INITIAL_BATCH = 256  # images of an array that data-dependent initialisation looks at


class NestedConfig:
    """A mixin for Keras objects whose configuration holds other Keras objects, serialized, or lists of them."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Returns the object of a configuration, with the objects in it deserialized first."""
        return cls(**{key: _deserialize(value) for key, value in config.items()})


def _deserialize(value: Any) -> Any:
    if isinstance(value, dict) and {"class_name", "config"} <= value.keys():
        value = keras.saving.deserialize_keras_object(value)
        # By its name: a layer without a get_config of its own has one made by Keras, if its arguments are plain values.
        return value.name if type(value) is keras.DTypePolicy else value
    return [_deserialize(item) for item in value] if isinstance(value, list) else value


class FlowLayer(NestedConfig, DensityLayer):
    """An invertible map between a latent z and data x, with the log-determinant of its Jacobian.

    Subclasses implement `forward_and_log_det` (sampling) and `inverse_and_log_det` (density). Shapes: x is
    [B, *event_shape], z is [B, *latent_shape(event_shape)], `condition` is [B, N] (or [B, H, W, N] where the event is
    an image of that height and width), and the log-determinant is [B], in nats, of the direction called.

    `build(input_shape)` gets the shape of x, [None, *event_shape]. A layer that reads the condition sets
    `condition_size`, so that `Flow` can tell whether the two agree. Called as a Keras layer, it is the density
    direction.

    A flow layer computes in float32 whatever Keras's dtype policy says (float64 under the "float64" policy), since a
    log-determinant in half precision is noise. Conditioners follow the policy.

    Attributes:
        invertible_in_training: False where the inverse in training is not a function of z alone (batch normalisation).
        data_dependent: True where `initialize` sets weights.
        initial_images: how many images `initialize` wants where the layer is at the data end; 0 for one batch.
        rearranges: True where the layer changes the order or the shape of the elements and not their values.
        condition_size: N, the channels of the condition that the layer reads; 0 where it reads none.
    """

    invertible_in_training = True
    data_dependent = False
    initial_images = 0
    rearranges = False
    condition_size = 0

    def forward_and_log_det(
        self, z: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Maps a latent to data.

        Args:
            z: latents, [B, *latent_shape].
            condition: [B, N] or [B, H, W, N], or None where the layer reads none.
            training: whether dropout and batch statistics are in use.

        Returns:
            x [B, *event_shape] and log|det dx/dz| [B].
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement forward_and_log_det")

    def inverse_and_log_det(
        self, x: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Maps data x [B, *event_shape] to a latent, the inverse of `forward_and_log_det` with the same arguments.

        Returns:
            z [B, *latent_shape] and log|det dz/dx| [B].
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement inverse_and_log_det")

    def inverse_and_local_log_det(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Maps x to z as in evaluation, with the part of each element in the log-determinant, for `Flow.bits_map`.

        Returns:
            z [B, *latent_shape] and numbers [B, *event_shape] that add up to log|det dz/dx|.

        Raises:
            UnsupportedError: the determinant has no parts of single elements.
        """
        if not self.rearranges:
            raise UnsupportedError(
                f"{type(self).__name__} has a log-determinant that is not a sum over the elements of x: use log_prob."
            )
        return self.inverse_and_log_det(x, condition=condition)[0], ops.zeros_like(x)

    def locate(self, values: Tensor) -> Tensor:
        """Moves numbers of the elements of z [B, *latent_shape] to the elements of x [B, *event_shape] they stand for.

        Their sum stays the same. Where elements of z mix several of x, each of these gets an equal share.
        """
        return self.forward_and_log_det(values)[0] if self.rearranges else values

    def latent_shape(self, event_shape: Shape) -> tuple[int, ...]:
        """Returns the shape of z for data of `event_shape`, both without the batch; the same unless overridden."""
        return tuple(event_shape)

    def initialize(self, x: Tensor, condition: Tensor | None = None) -> None:
        """Sets weights from one batch x [B, *event_shape] that reaches this layer from the data.

        By default it does nothing. Layers with `trainable=False` keep their weights.
        """

    def call(self, x: Tensor, condition: Tensor | None = None, training: bool = False) -> tuple[Tensor, Tensor]:
        """Returns `inverse_and_log_det(x, condition, training)`."""
        return self.inverse_and_log_det(x, condition=condition, training=training)

    # Keras's functional API matches these names with the arguments of `call`.
    def compute_output_shape(
        self, x_shape: Shape, condition_shape: Shape | None = None
    ) -> tuple[tuple[int | None, ...], tuple[int | None]]:
        """Returns the shapes of z and of the log-determinant."""
        return (x_shape[0], *self.latent_shape(x_shape[1:])), (x_shape[0],)


class BijectorLayer(FlowLayer):
    """A flow layer given by one TFP bijector.

    Subclasses implement `bijector()`, a pure function of the layer's Keras weights. Keras owns every weight, since it
    tracks none that a TFP object holds; TFP owns the formula.
    """

    def bijector(self) -> tfb.Bijector:
        """Returns the bijector whose forward maps z to x."""
        raise NotImplementedError(f"{type(self).__name__} does not implement bijector")

    def forward_and_log_det(
        self, z: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Returns x and log|det dx/dz|, see `FlowLayer`."""
        bijector, z = self.bijector(), uncached(z)
        x = bijector.forward(z)
        return x, per_example(bijector.forward_log_det_jacobian(z, event_ndims=len(z.shape) - 1), z)

    def inverse_and_log_det(
        self, x: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Returns z and log|det dz/dx|, see `FlowLayer`."""
        bijector, x = self.bijector(), uncached(x)
        z = bijector.inverse(x)
        return z, per_example(bijector.inverse_log_det_jacobian(x, event_ndims=len(x.shape) - 1), x)

    def inverse_and_local_log_det(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Returns z and parts [B, *event_shape] of the log-determinant, of an elementwise bijector; see `FlowLayer`."""
        bijector, x = self.bijector(), uncached(x)
        if bijector.inverse_min_event_ndims or self.rearranges:
            return super().inverse_and_local_log_det(x, condition)
        return bijector.inverse(x), ops.broadcast_to(bijector.inverse_log_det_jacobian(x, event_ndims=0), ops.shape(x))


def build_conditioner(conditioner: keras.layers.Layer, input_shape: Shape, outputs: int) -> None:
    """Builds a network inside a flow layer, unless it is built: a `Conditioner` or any other Keras layer.

    Args:
        conditioner: maps inputs of `input_shape` to `outputs` channels; a `Conditioner` may leave the number open.
        input_shape: of the inputs, with the batch.
        outputs: the number of channels that the flow layer needs.

    Raises:
        InputError: the network has another number of outputs.
    """
    if hasattr(conditioner, "build_for"):
        conditioner.build_for(input_shape, outputs)
        return
    if not conditioner.built:
        conditioner.build(input_shape)
    width = conditioner.compute_output_shape(input_shape)[-1]
    if width != outputs:
        raise InputError(f"{type(conditioner).__name__} returns {width} channels: {outputs} are needed here.")


def per_example(log_det: Tensor, x: Tensor) -> Tensor:
    """Broadcasts a log-det, a scalar where the Jacobian is constant, to [B] for x [B, ...]."""
    return ops.broadcast_to(ops.cast(log_det, x.dtype), ops.shape(x)[:1])


def sum_event(x: Tensor) -> Tensor:
    """Sums x [B, ...] over all axes but the batch: [B]."""
    return ops.sum(x, axis=tuple(range(1, len(x.shape))))
