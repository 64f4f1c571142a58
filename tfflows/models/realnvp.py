"""RealNVP."""

from collections.abc import Iterator

from tfflows import layers, nets
from tfflows._backend import Shape
from tfflows.models.rescaling import Rescaling, data_end
from tfflows.zoo.hints import Natural, NonNegative, Positive, Rate


def realnvp(
    event_shape: Shape,
    num_values: int = 256,
    condition_size: int = 0,
    *,
    num_levels: Positive = 2,
    num_blocks: Natural = 4,
    filters: Positive = 32,
    alpha: float = 0.05,
    rescale: Rescaling = "logit",
    per_pixel: bool = False,
    l2: NonNegative = 5e-5,
    dropout: Rate = 0.0,
    batch_norm: bool = True,
) -> layers.Chain:
    """Returns the multi-scale RealNVP of images.

    x [B, H, W, C] in [0, num_values) <-> z [B, H W C]; H and W divisible by 2^(num_levels - 1). Each level but the
    last has 3 checkerboard couplings, a squeeze, 3 channel couplings and factors out half of the channels; the last
    has 4 checkerboard couplings. The networks' width doubles with each level. Batch normalisation follows each
    coupling.

    Where the paper and its released code (tensorflow/models, real_nvp) disagree, this follows the paper on the
    numbers of blocks and filters and on running averages, and the code on the logit (see `layers.Logit`).

    Args:
        event_shape: [H, W, C].
        num_values: the number of grey values.
        condition_size: channels of the condition that all networks read, or 0.
        num_levels: the number of levels.
        num_blocks: of the residual networks.
        filters: of the residual networks in the level nearest to the data.
        alpha: of the logit.
        rescale: "linear", "logit" or "gaussianize".
        per_pixel: whether the Gaussianization has masses for each pixel.
        l2: the penalty on the networks' weight scales.
        dropout: inside the networks; 0 in the paper.
        batch_norm: whether batch normalisation follows each coupling.

    Reference:
        Dinh, Sohl-Dickstein and Bengio 2017, "Density estimation using Real NVP", arXiv 1605.08803, sections 3.4-3.7
        and 4.1.
    """

    def couplings(number: int, mask: str, width: int) -> Iterator[layers.FlowLayer]:
        """Yields couplings from data to latent."""
        for index in range(number):
            net = nets.ConvResNet(width, num_blocks, l2=l2, dropout=dropout)
            yield layers.Coupling(net, mask=mask, flip=index % 2 == 1, condition_size=condition_size)
            if batch_norm:
                yield layers.BatchNorm()

    levels = []
    for level in range(num_levels - 1):
        width = filters * 2**level
        from_data = [
            *couplings(3, "checkerboard", width),
            layers.Squeeze(),
            *couplings(3, "halves", 2 * width),
        ]
        levels.append(layers.Chain.from_data(from_data))
    last = list(couplings(4, "checkerboard", filters * 2 ** (num_levels - 1)))
    levels.append(layers.Chain.from_data(last))
    return layers.Chain.from_data([data_end(num_values, rescale, alpha, per_pixel), layers.Multiscale(levels[::-1])])
