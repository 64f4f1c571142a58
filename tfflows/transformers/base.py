"""The contract of transformers.

A transformer for n elements takes a conditioner's output [B, ..., num_parameters * n], parameter-major, and returns a
scalar TFP bijector z -> x on [B, ..., n].
"""

from keras import ops

from tfflows._backend import DensityLayer, Shape, Tensor, tfb, uncached


class Transformer(DensityLayer):
    """The base of transformers: elementwise bijections with parameters from a network.

    Called as a Keras layer, it is the density direction: (x [B, ..., n], outputs [B, ..., P n]) -> z and
    log|dz/dx|, both [B, ..., n].

    Attributes:
        num_parameters: P, the number of parameters of each element.
    """

    num_parameters: int

    def build(self, event_shape: Shape) -> None:
        """Makes weights for elements of `event_shape`, of which only the last axis counts."""

    def bijector(self, outputs: Tensor) -> tfb.Bijector:
        """Returns the bijector z -> x on [B, ..., n].

        Args:
            outputs: of a conditioner, [B, ..., num_parameters * n], parameter-major.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement bijector")

    def call(self, x: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Returns z and log|dz/dx|, both of the shape of x [B, ..., n], for a conditioner's outputs [B, ..., P n]."""
        bijector, x = self.bijector(outputs), uncached(x)
        z, log_det = bijector.inverse(x), bijector.inverse_log_det_jacobian(x, event_ndims=0)
        return z, ops.broadcast_to(log_det, ops.shape(z))

    def compute_output_shape(
        self, x_shape: Shape, outputs_shape: Shape
    ) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
        """Returns the shapes of z and of the log-determinants."""
        return tuple(x_shape), tuple(x_shape)


def parameters_last(outputs: Tensor, num_parameters: int) -> Tensor:
    """Returns outputs [B, ..., P n], parameter-major, as [B, ..., n, P]."""
    shape = ops.shape(outputs)
    outputs = ops.reshape(outputs, (*shape[:-1], num_parameters, outputs.shape[-1] // num_parameters))
    return ops.swapaxes(outputs, -1, -2)
