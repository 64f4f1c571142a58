"""Changes of shape: space into channels, and images into vectors. Volume-preserving, log-det 0."""

import math

import keras
from keras import ops

from tfflows._backend import Shape, Tensor
from tfflows.errors import InputError
from tfflows.layers.base import FlowLayer


@keras.saving.register_keras_serializable("tfflows")
class Squeeze(FlowLayer):
    """Trades space for channels: each 2x2 block of pixels becomes one pixel of 4C channels.

    x [B, H, W, C] <-> z [B, H/2, W/2, 4C]; the channels of z are ordered (row in block, column in block, channel).

    Args:
        **kwargs: Keras's arguments of a layer.

    Raises:
        InputError: in `build`, where x is no image or H or W is odd.

    Reference:
        Dinh, Sohl-Dickstein and Bengio 2017, "Density estimation using Real NVP", arXiv 1605.08803, section 3.6.
    """

    rearranges = True

    def build(self, input_shape: Shape) -> None:
        if len(input_shape) != 4:
            raise InputError(f"Squeeze takes images [B, H, W, C] and got shape {tuple(input_shape)}: leave it out.")
        _, height, width, _ = input_shape
        if height % 2 or width % 2:
            raise InputError(
                f"Squeeze got images of {height}x{width} and halves both sides: "
                "crop, pad or resize the images to even sides, or use fewer levels."
            )

    def latent_shape(self, event_shape: Shape) -> tuple[int, ...]:
        height, width, channels = event_shape
        return (height // 2, width // 2, 4 * channels)

    def forward_and_log_det(
        self, z: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        _, height, width, channels = z.shape
        x = ops.reshape(z, (-1, height, width, 2, 2, channels // 4))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        x = ops.reshape(x, (-1, 2 * height, 2 * width, channels // 4))
        return x, ops.zeros_like(z[:, 0, 0, 0])

    def inverse_and_log_det(
        self, x: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        _, height, width, channels = x.shape
        z = ops.reshape(x, (-1, height // 2, 2, width // 2, 2, channels))
        z = ops.transpose(z, (0, 1, 3, 2, 4, 5))
        z = ops.reshape(z, (-1, height // 2, width // 2, 4 * channels))
        return z, ops.zeros_like(x[:, 0, 0, 0])


@keras.saving.register_keras_serializable("tfflows")
class Flatten(FlowLayer):
    """Flattens images to vectors in row-major order: x [B, *event_shape] <-> z [B, D]."""

    rearranges = True

    def build(self, input_shape: Shape) -> None:
        self.event_shape = tuple(input_shape[1:])

    def latent_shape(self, event_shape: Shape) -> tuple[int, ...]:
        return (math.prod(event_shape),)

    def forward_and_log_det(
        self, z: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        return ops.reshape(z, (-1, *self.event_shape)), ops.zeros_like(z[:, 0])

    def inverse_and_log_det(
        self, x: Tensor, condition: Tensor | None = None, training: bool = False
    ) -> tuple[Tensor, Tensor]:
        z = ops.reshape(x, (-1, math.prod(self.event_shape)))
        return z, ops.zeros_like(z[:, 0])
