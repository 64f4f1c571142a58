"""Neural spline flows on images."""

import itertools
from collections.abc import Iterator
from typing import Annotated

from tfflows import layers, nets, transformers
from tfflows._backend import Shape
from tfflows.models.rescaling import Rescaling, data_end
from tfflows.zoo.hints import Natural, Positive, PositiveFloat, Range, Rate


def neural_spline(
    event_shape: Shape,
    num_values: int = 256,
    condition_size: int = 0,
    *,
    num_levels: Positive = 3,
    num_steps: Positive = 7,
    width: Positive = 96,
    num_blocks: Positive = 3,
    num_bins: Annotated[int, Range(2, 101)] = 4,
    bound: PositiveFloat = 3.0,
    multiscale: bool = True,
    dropout: Rate = 0.0,
    alpha: float | None = None,
    rescale: Rescaling | None = None,
    per_pixel: bool = False,
    seed: Natural = 0,
) -> layers.Chain:
    """Returns RQ-NSF (C): Glow's steps with rational-quadratic spline couplings and residual networks.

    x [B, H, W, C] in [0, num_values) <-> z [B, H W C]; H and W divisible by 2^num_levels. Each level squeezes, takes
    `num_steps` steps of actnorm, 1x1 convolution and coupling, and ends with a 1x1 convolution. Where `multiscale`,
    each level but the last factors out half of its channels, with a standard normal prior.

    `glow(coupling="spline")` has Glow's networks and learned priors in the same place.

    Args:
        event_shape: [H, W, C].
        num_values: the number of grey values.
        condition_size: channels of the condition that all networks read, or 0.
        num_levels: of resolutions.
        num_steps: in each level.
        width: of the coupling networks.
        num_blocks: residual blocks of each network.
        num_bins: of the splines.
        bound: of the splines, which are the identity outside [-bound, bound].
        multiscale: whether levels factor out half of their channels; else all channels go to the end.
        dropout: of the coupling networks.
        alpha: of the logit, if it is chosen.
        rescale: "linear", "logit" or "gaussianize"; by default "logit" where `alpha` is given, else "linear".
        per_pixel: whether the Gaussianization has masses for each pixel.
        seed: the 1x1 convolutions' rotations have the seeds `seed`, `seed` + 1, ...

    Raises:
        InputError: an argument has a value that does not exist.

    Reference:
        Durkan, Bekasov, Murray and Papamakarios 2019, "Neural spline flows", arXiv 1906.04032, section 5.4, and
        released code.
    """
    seeds = itertools.count(seed)

    def from_data() -> Iterator[layers.FlowLayer]:
        """Yields the layers of a level from data to latent."""
        yield layers.Squeeze()
        for _ in range(num_steps):
            yield layers.ActNorm()
            yield layers.Conv1x1(seed=next(seeds))
            net = nets.PreActivationResNet(width, num_blocks, dropout=dropout)
            spline = transformers.Spline(num_bins, bound)
            yield layers.Coupling(net, transformer=spline, condition_size=condition_size)
        yield layers.Conv1x1(seed=next(seeds))

    levels = [layers.Chain.from_data(from_data()) for _ in range(num_levels)]
    end = [layers.Multiscale(levels[::-1])] if multiscale else [*levels, layers.Flatten()]
    return layers.Chain.from_data([data_end(num_values, rescale, alpha, per_pixel), *end])
