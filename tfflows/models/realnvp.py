"""RealNVP."""

from tfflows import layers, nets
from tfflows._types import Natural, NonNegative, Positive, Rate


def realnvp(
    event_shape,
    num_values=256,
    condition_size=0,
    *,
    num_levels: Positive = 2,
    num_blocks: Natural = 4,
    filters: Positive = 32,
    alpha: float = 0.05,
    l2: NonNegative = 5e-5,
    dropout: Rate = 0.0,
    batch_norm: bool = True,
):
    """The multi-scale RealNVP of images.

    x [B, H, W, C] in [0, num_values) <-> z [B, H W C]; H and W divisible by 2^(num_levels - 1). Each level but the
    last has 3 checkerboard couplings, a squeeze, 3 channel couplings and factors out half of the channels; the last
    has 4 checkerboard couplings. The networks' width doubles with each level. Batch normalisation follows each
    coupling. `alpha` is that of the logit.

    Arguments: `num_levels`; `num_blocks` and `filters` of the residual networks; `l2` penalty on their weight scales;
    `dropout` inside them (0 in the paper); `batch_norm`, between the couplings.
    Where the paper and its released code (tensorflow/models, real_nvp) disagree, this follows the paper on the
    numbers of blocks and filters and on running averages, and the code on the logit (see `layers.Logit`).

    Reference: Dinh, Sohl-Dickstein and Bengio 2017, "Density estimation using Real NVP", arXiv 1605.08803,
    sections 3.4-3.7 and 4.1.
    """

    def couplings(number, mask, width):
        """From data to latent."""
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
        levels.append(layers.Chain(from_data[::-1]))
    last = list(couplings(4, "checkerboard", filters * 2 ** (num_levels - 1)))
    levels.append(layers.Chain(last[::-1]))
    return layers.Chain([layers.Multiscale(levels[::-1]), layers.Logit(num_values, alpha)])
