"""RealNVP's residual network of weight-normalised convolutions."""

from typing import Any

import keras
from keras import ops

from tfflows._backend import Shape, Tensor
from tfflows.nets.base import Conditioner


@keras.saving.register_keras_serializable("tfflows")
class WeightNormConv2D(keras.layers.Layer):
    """A convolution with kernel g v / ||v||, the norm over all but the output channel (Salimans and Kingma 2016).

    [B, H, W, C] -> [B, H, W, filters], padded to the same size.

    Args:
        filters: the number of output channels.
        kernel_size: of the square kernel.
        l2: the penalty on g.
        **kwargs: Keras's arguments of a layer.

    Reference:
        Salimans and Kingma 2016, "Weight normalization", arXiv 1602.07868, equation 2.
    """

    def __init__(self, filters: int, kernel_size: int = 3, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.l2 = filters, kernel_size, l2

    def build(self, input_shape: Shape) -> None:
        shape = (self.kernel_size, self.kernel_size, input_shape[-1], self.filters)
        self.direction = self.add_weight(shape=shape, initializer="he_normal", name="direction")
        regularizer = keras.regularizers.L2(self.l2) if self.l2 else None
        self.gain = self.add_weight(shape=(self.filters,), initializer="ones", regularizer=regularizer, name="gain")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, x: Tensor) -> Tensor:
        direction = ops.convert_to_tensor(self.direction)
        norm = ops.sqrt(ops.sum(ops.square(direction), axis=(0, 1, 2)) + 1e-12)
        return ops.conv(x, direction * (self.gain / norm), padding="same") + self.bias

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        config = {"filters": self.filters, "kernel_size": self.kernel_size, "l2": self.l2}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("tfflows")
class ConvResNet(Conditioner):
    """RealNVP's residual network: weight-normalised convolutions, and a skip connection from every block to the end.

    [B, H, W, C] -> [B, H, W, outputs]. h_0 = conv3x3(x), h_k = h_(k-1) + conv3x3(relu(conv1x1(relu(h_(k-1))))),
    output = conv1x1(relu(sum_k conv1x1(h_k))).

    The paper's released code also normalises the batch inside the network; this one follows the text on weight
    normalisation and leaves that to the flow layers.

    Args:
        filters: the channels of all hidden layers.
        num_blocks: the number of residual blocks.
        outputs: the number of output channels, or None, see `Conditioner`.
        l2: the penalty on the weight scales.
        dropout: inside the blocks.
        **kwargs: Keras's arguments of a layer.

    Reference:
        Dinh, Sohl-Dickstein and Bengio 2017, arXiv 1605.08803, section 3.6 and appendix E.
    """

    def __init__(
        self,
        filters: int = 32,
        num_blocks: int = 2,
        outputs: int | None = None,
        l2: float = 0.0,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(outputs, **kwargs)
        self.filters, self.num_blocks, self.l2, self.dropout = filters, num_blocks, l2, dropout

    def build(self, input_shape: Shape) -> None:
        def conv(kernel_size: int) -> WeightNormConv2D:
            return WeightNormConv2D(self.filters, kernel_size, self.l2, dtype=self.dtype_policy)

        self.first, self.first_skip = conv(3), conv(1)
        self.blocks = [(conv(1), conv(3), conv(1)) for _ in range(self.num_blocks)]
        self.drop = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)
        self.last = keras.layers.Conv2D(self.outputs, 1, kernel_initializer="zeros", dtype=self.last_dtype)
        hidden_shape = (*input_shape[:-1], self.filters)
        self.first.build(input_shape)
        for layer in (
            self.first_skip,
            *(layer for block in self.blocks for layer in block),
            self.drop,
            self.last,
        ):
            layer.build(hidden_shape)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        h = self.first(x)
        skip = self.first_skip(h)
        for inner, outer, to_skip in self.blocks:
            r = self.drop(ops.relu(inner(ops.relu(h))), training=training)
            h = h + outer(r)
            skip = skip + to_skip(h)
        return self.last(ops.relu(skip))

    def get_config(self) -> dict[str, Any]:
        config = {
            "filters": self.filters,
            "num_blocks": self.num_blocks,
            "l2": self.l2,
            "dropout": self.dropout,
        }
        return {**super().get_config(), **config}
