"""Glow's conditioners: the convolution that starts at zero and the network that ends with it."""

from typing import Any

import keras
from keras import ops

from tfflows._backend import Shape, Tensor, flow_dtype
from tfflows.nets.base import Conditioner


@keras.saving.register_keras_serializable("tfflows")
class ZeroConv2D(Conditioner):
    """A 3x3 convolution that starts at zero: (K * x + b) exp(3 log_scale), a log_scale for each output.

    [B, H, W, C] -> [B, H, W, outputs], float32 at least. The factor 3 is the released code's: the scale then
    learns faster than the kernel.

    Args:
        outputs: the number of output channels, or None, see `Conditioner`.
        **kwargs: Keras's arguments of a layer.

    Reference:
        Kingma and Dhariwal 2018, arXiv 1807.03039, section 3.3 and released code.
    """

    FACTOR = 3.0

    def __init__(self, outputs: int | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("dtype", flow_dtype())
        super().__init__(outputs, **kwargs)

    def build(self, input_shape: Shape) -> None:
        shape = (3, 3, input_shape[-1], self.outputs)
        self.kernel = self.add_weight(shape=shape, initializer="zeros", name="kernel")
        self.bias = self.add_weight(shape=(self.outputs,), initializer="zeros", name="bias")
        self.log_scale = self.add_weight(shape=(self.outputs,), initializer="zeros", name="log_scale")

    def call(self, x: Tensor) -> Tensor:
        scale = ops.exp(self.FACTOR * self.log_scale)  # in the kernel, not over the pixels
        return ops.add(ops.conv(x, self.kernel * scale, padding="same"), self.bias * scale)


class ActNorm(keras.layers.Layer):
    """The scale and shift of each channel after a hidden convolution; `GlowConvNet` applies them to its kernel."""

    data_dependent = True

    def build(self, input_shape: Shape) -> None:
        self.shift = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="shift")
        self.log_scale = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="log_scale")

    def initialize(self, h: Tensor) -> None:
        """Sets the weights so that h [B, H, W, C] is normalised to mean 0 and variance 1."""
        if not self.trainable:
            return
        mean, variance = ops.moments(h, axes=(0, 1, 2))
        self.shift.assign(mean)
        self.log_scale.assign(0.5 * ops.log(ops.where(variance < 1e-12, ops.ones_like(variance), variance)))


@keras.saving.register_keras_serializable("tfflows")
class GlowConvNet(Conditioner):
    """Glow's network: conv3x3 - actnorm - ReLU - conv1x1 - actnorm - ReLU - zero convolution.

    [B, H, W, C] -> [B, H, W, outputs]. `initialize` sets the actnorms from one batch, as in the flow itself;
    they are why the first two convolutions have no bias. Images are padded with zeros; the released code adds
    a channel that marks the border, which the paper does not mention.

    Args:
        width: the channels of the hidden layers.
        outputs: the number of output channels, or None, see `Conditioner`.
        dropout: before the zero convolution; 0 in the paper.
        **kwargs: Keras's arguments of a layer.

    Reference:
        Kingma and Dhariwal 2018, arXiv 1807.03039, section 3.3 and released code.
    """

    data_dependent = True

    def __init__(self, width: int = 512, outputs: int | None = None, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(outputs, **kwargs)
        self.width, self.dropout = width, dropout

    def build(self, input_shape: Shape) -> None:
        def conv(kernel_size: int) -> keras.layers.Conv2D:
            options = {"padding": "same", "use_bias": False, "dtype": self.dtype_policy}
            normal = keras.initializers.RandomNormal(stddev=0.05)
            return keras.layers.Conv2D(self.width, kernel_size, kernel_initializer=normal, **options)

        self.hidden = [(conv(size), ActNorm(dtype=self.last_dtype)) for size in (3, 1)]
        self.drop = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)
        self.last = ZeroConv2D(self.outputs, dtype=self.last_dtype)
        shape = input_shape
        for convolution, actnorm in self.hidden:
            convolution.build(shape)
            shape = (*input_shape[:-1], self.width)
            actnorm.build(shape)
        self.drop.build(shape)
        self.last.build(shape)

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        return self._run(x, training)

    def initialize(self, x: Tensor) -> None:
        self._run(x, initialize=True)

    def _run(self, h: Tensor, training: bool = False, initialize: bool = False) -> Tensor:
        for convolution, actnorm in self.hidden:
            if initialize:
                actnorm.initialize(ops.cast(convolution(h), actnorm.dtype))
            # The normalisation is linear, so it goes into the kernel, not over the pixels.
            scale = ops.exp(-actnorm.log_scale)
            kernel, bias = ops.cast(convolution.kernel, scale.dtype) * scale, -actnorm.shift * scale
            h = ops.conv(ops.cast(h, self.compute_dtype), ops.cast(kernel, self.compute_dtype), padding="same")
            h = ops.relu(ops.add(h, ops.cast(bias, self.compute_dtype)))
        return self.last(self.drop(h, training=training))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width, "dropout": self.dropout}
