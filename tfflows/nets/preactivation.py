"""The residual network of neural spline flows on images."""

from typing import Any

import keras
from keras import ops

from tfflows._backend import Shape, Tensor
from tfflows.nets.base import Conditioner


@keras.saving.register_keras_serializable("tfflows")
class PreActivationResNet(Conditioner):
    """Residual blocks that normalise and activate before they convolve: h + conv3x3(f(conv3x3(f(h)))), f = ReLU(norm).

    [B, H, W, C] -> [B, H, W, outputs]; a 1x1 convolution before the blocks and one after them, which starts at zero.
    Each block's second convolution starts near zero, so that a block starts near the identity. The norm is Keras's
    batch normalisation: like dropout, it makes the parameters that the network gives noisy in training, and leaves the
    flow layer exact, which reads the same half in both directions.

    Args:
        width: the channels of the hidden layers.
        num_blocks: the number of residual blocks.
        outputs: the number of output channels, or None, see `Conditioner`.
        dropout: inside the blocks.
        **kwargs: Keras's arguments of a layer.

    Reference:
        Durkan, Bekasov, Murray and Papamakarios 2019, "Neural spline flows", arXiv 1906.04032, section 5.4, and
        released code; He, Zhang, Ren and Sun 2016, "Identity mappings in deep residual networks", arXiv 1603.05027.
    """

    def __init__(
        self, width: int = 96, num_blocks: int = 3, outputs: int | None = None, dropout: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(outputs, **kwargs)
        self.width, self.num_blocks, self.dropout = width, num_blocks, dropout

    def build(self, input_shape: Shape) -> None:
        """Makes the layers for inputs of `input_shape`, with the batch."""
        near_zero = keras.initializers.RandomUniform(-1e-3, 1e-3)

        def norm() -> keras.layers.Layer:
            # The constants of the released code; Keras computes it in float32 under mixed precision too.
            return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-3, dtype=self.dtype_policy)

        def conv(**options: Any) -> keras.layers.Layer:
            return keras.layers.Conv2D(self.width, 3, padding="same", dtype=self.dtype_policy, **options)

        self.first = keras.layers.Conv2D(self.width, 1, dtype=self.dtype_policy)
        self.blocks = [(norm(), conv(), norm(), conv(kernel_initializer=near_zero)) for _ in range(self.num_blocks)]
        self.drop = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)
        self.last = keras.layers.Conv2D(self.outputs, 1, kernel_initializer="zeros", dtype=self.last_dtype)
        self.first.build(input_shape)
        hidden = [layer for block in self.blocks for layer in block]
        for layer in (*hidden, self.drop, self.last):
            layer.build((*input_shape[:-1], self.width))

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        h = self.first(x)
        for norm_in, conv_in, norm_out, conv_out in self.blocks:
            r = conv_in(ops.relu(norm_in(h, training=training)))
            r = self.drop(ops.relu(norm_out(r, training=training)), training=training)
            h = h + conv_out(r)
        return self.last(h)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = {"width": self.width, "num_blocks": self.num_blocks, "dropout": self.dropout}
        return {**super().get_config(), **config}
