"""The contract of every flow layer, and the same contract from one TFP bijector.

Direction, as in TFP: forward z -> x is sampling, inverse x -> z is density.
"""

import keras
from keras import ops

from tfflows._backend import flow_dtype, uncached


class FlowLayer(keras.layers.Layer):
    """An invertible map between a latent z and data x, with the log-determinant of its Jacobian.

    Subclasses implement
        `forward_and_log_det(z, condition=None, training=False) -> (x, log|det dx/dz|)`
        `inverse_and_log_det(x, condition=None, training=False) -> (z, log|det dz/dx|)`
    where x is [B, *event_shape], z is [B, *latent_shape(event_shape)], `condition` is [B, N] (or [B, H, W, N] where
    the event is an image of that height and width) and the log-determinant is [B], in nats, of the direction called.
    `build(input_shape)` gets the shape of x, [None, *event_shape]. A layer that reads the condition sets
    `condition_size`, so that `Flow` can tell whether the two agree.

    A flow layer computes in float32 whatever Keras's dtype policy says (float64 under the "float64" policy): in half
    precision a log-determinant is noise. Conditioners follow the policy.
    """

    # False where the training-time inverse is not a function of z alone (batch normalisation).
    invertible_in_training = True
    # True where `initialize` does something.
    data_dependent = False
    # N, the channels of the condition that the layer reads; 0 where it reads none.
    condition_size = 0

    def __init__(self, **kwargs):
        kwargs.setdefault("dtype", flow_dtype())
        super().__init__(autocast=False, **kwargs)

    def forward_and_log_det(self, z, condition=None, training=False):
        raise NotImplementedError(f"{type(self).__name__} does not implement forward_and_log_det")

    def inverse_and_log_det(self, x, condition=None, training=False):
        raise NotImplementedError(f"{type(self).__name__} does not implement inverse_and_log_det")

    def latent_shape(self, event_shape):
        """The shape of z for data of `event_shape`, both tuples without the batch; the same unless overridden."""
        return tuple(event_shape)

    def initialize(self, x, condition=None):
        """Sets weights from one batch x [B, *event_shape] of what reaches this layer from the data; no effect here."""

    def call(self, x, condition=None, training=False):
        return self.inverse_and_log_det(x, condition=condition, training=training)

    def compute_output_shape(self, input_shape, condition_shape=None):
        return (input_shape[0], *self.latent_shape(input_shape[1:])), (input_shape[0],)


class BijectorLayer(FlowLayer):
    """A flow layer given by one TFP bijector.

    Subclasses implement `bijector()`, a pure function of the layer's Keras weights that builds a `tfb.Bijector` whose
    forward maps z to x. Keras owns every weight (it tracks none that a TFP object holds); TFP owns the formula.
    """

    def bijector(self):
        raise NotImplementedError(f"{type(self).__name__} does not implement bijector")

    def forward_and_log_det(self, z, condition=None, training=False):
        bijector, z = self.bijector(), uncached(z)
        x = bijector.forward(z)
        return x, per_example(bijector.forward_log_det_jacobian(z, event_ndims=len(z.shape) - 1), z)

    def inverse_and_log_det(self, x, condition=None, training=False):
        bijector, x = self.bijector(), uncached(x)
        z = bijector.inverse(x)
        return z, per_example(bijector.inverse_log_det_jacobian(x, event_ndims=len(x.shape) - 1), x)


def per_example(log_det, x):
    """Broadcasts TFP's log-det, a scalar where the Jacobian is constant, to [B]."""
    return ops.broadcast_to(ops.cast(log_det, x.dtype), ops.shape(x)[:1])


def sum_event(x):
    """Sums [B, ...] over all but the batch: [B]."""
    return ops.sum(x, axis=tuple(range(1, len(x.shape))))
