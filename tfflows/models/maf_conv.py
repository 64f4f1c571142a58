"""Masked autoregressive flow with masked convolutions and an exact discrete likelihood: PixelCNN as a flow."""

from tfflows import layers, nets, transformers
from tfflows._backend import Shape
from tfflows.zoo.hints import Positive, Rate


def maf_conv(
    event_shape: Shape,
    num_values: int = 256,
    condition_size: int = 0,
    *,
    width: Positive = 32,
    num_blocks: Positive = 5,
    kernel_size: Positive = 3,
    num_components: Positive = 5,
    dropout: Rate = 0.0,
) -> layers.Chain:
    """Returns one autoregressive layer whose network is a gated PixelCNN and whose conditionals are discrete.

    x [B, H, W, C] in [0, num_values) <-> z [B, H W C]. The network reads the integers of the pixels before, and a
    pixel's conditional is a discretised mixture of logistics, so that with a standard normal base log p(x + u) is
    log P(x) for any noise u: the bits/dim are exact.

    PixelCNN's paper has a softmax over the values; the mixture is that of PixelCNN++, whose network is another one.

    Args:
        event_shape: [H, W, C].
        num_values: the number of grey values.
        condition_size: channels of the condition that every gate reads, or 0.
        width: the features of the vertical and of the horizontal stack.
        num_blocks: the number of gated blocks after the first layer.
        kernel_size: of the blocks, odd.
        num_components: of the mixtures.
        dropout: in the blocks.

    Reference:
        van den Oord et al. 2016, "Conditional image generation with PixelCNN decoders", arXiv 1606.05328; Salimans,
        Karpathy, Chen and Kingma 2017, "PixelCNN++", arXiv 1701.05517.
    """
    net = nets.PixelCNN(
        event_shape, num_values, width, num_blocks, kernel_size, dropout=dropout, condition_size=condition_size
    )
    transformer = transformers.DiscretizedLogistics(num_values, num_components)
    return layers.Chain.from_data([layers.Flatten(), layers.Autoregressive(net, transformer)])
