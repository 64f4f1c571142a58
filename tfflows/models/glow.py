"""Glow."""

import itertools
from collections.abc import Iterator
from typing import Annotated, Literal

from tfflows import layers, nets, transformers
from tfflows._backend import Shape
from tfflows.errors import InputError
from tfflows.models.rescaling import Rescaling, data_end
from tfflows.zoo.hints import Natural, Positive, PositiveFloat, Range, Rate


def glow(
    event_shape: Shape,
    num_values: int = 256,
    condition_size: int = 0,
    *,
    num_levels: Positive = 3,
    num_steps: Positive = 32,
    width: Positive = 512,
    coupling: Literal["affine", "additive", "spline", "mixture"] = "affine",
    num_bins: Annotated[int, Range(2, 101)] = 8,
    bound: PositiveFloat = 5.0,
    num_components: Positive = 4,
    network: Literal["conv", "residual"] = "conv",
    num_blocks: Positive = 1,
    lu: bool = False,
    learn_top: bool = True,
    dropout: Rate = 0.0,
    alpha: float | None = None,
    rescale: Rescaling | None = None,
    per_pixel: bool = False,
    seed: Natural = 0,
    recompute: Literal["inverse"] | None = None,
) -> layers.Chain:
    """Returns Glow: a multi-scale flow of actnorm, invertible 1x1 convolution and coupling.

    x [B, H, W, C] in [0, num_values) <-> z [B, H W C]; H and W divisible by 2^num_levels. Each level
    squeezes, takes `num_steps` steps, and but for the last factors out half of its channels, whose mean and
    scale a zero convolution of the other half predicts. These learned priors are couplings, and that of the
    top level a scale and shift of each channel: the base is standard normal and temperature acts everywhere.

    With spline couplings this is RQ-NSF (C) of Durkan et al. 2019, with Glow's networks where they have residual ones
    (see `neural_spline`); `network="residual"` takes RealNVP's.
    With mixtures the couplings are nearly those of Flow++ (Ho et al. 2019), which have logistics for normals, an affine
    map after them and attention in their networks; a sample then takes a search, see `transformers.MixtureOfGaussians`.

    Where the released code (openai/glow) differs from the paper's text, this follows the code on the scale
    sigmoid(h + 2), the zero convolution's factor 3, the full matrix W and the learned priors, the paper on
    actnorm and padding (see `layers.ActNorm`, `nets.GlowConvNet`). The code takes W's determinant in
    float64 and gives a class to the top prior alone; here it is in float32, and all networks get the class.

    Args:
        event_shape: [H, W, C].
        num_values: the number of grey values.
        condition_size: channels of the condition that all networks read, or 0.
        num_levels: L.
        num_steps: K.
        width: of the coupling networks.
        coupling: "affine", "additive", "spline" or "mixture".
        num_bins: of the splines.
        bound: of the splines, which are the identity outside [-bound, bound].
        num_components: of the mixtures.
        network: of the couplings, "conv" (Glow's, `nets.GlowConvNet`) or "residual" (RealNVP's, `nets.ConvResNet`).
        num_blocks: of a residual network.
        lu: whether the 1x1 convolutions keep the decomposition of their matrix.
        learn_top: whether the top level's prior is learned.
        dropout: of the coupling networks.
        alpha: of the logit, if it is chosen.
        rescale: "linear", "logit" or "gaussianize"; by default "logit" where `alpha` is given, else "linear".
        per_pixel: whether the Gaussianization has masses for each pixel.
        seed: the 1x1 convolutions' rotations have the seeds `seed`, `seed` + 1, ...
        recompute: None or "inverse", see `layers.Chain`.

    Raises:
        InputError: an argument has a value that does not exist.

    Reference:
        Kingma and Dhariwal 2018, "Glow: generative flow with invertible 1x1 convolutions", arXiv 1807.03039; Durkan,
        Bekasov, Murray and Papamakarios 2019, "Neural spline flows", arXiv 1906.04032; Ho, Chen, Srinivas, Duan and
        Abbeel 2019, "Flow++: improving flow-based generative models", arXiv 1902.00275, section 3.2.
    """
    transformer_of = {
        "affine": lambda: transformers.Affine(scale="sigmoid"),
        "additive": transformers.Additive,
        "spline": lambda: transformers.Spline(num_bins, bound),
        "mixture": lambda: transformers.MixtureOfGaussians(num_components),
    }
    if coupling not in transformer_of:
        raise InputError(f"glow got coupling={coupling!r}: use 'affine', 'additive', 'spline' or 'mixture'.")
    network_of = {
        "conv": lambda: nets.GlowConvNet(width, dropout=dropout),
        "residual": lambda: nets.ConvResNet(width, num_blocks, dropout=dropout),
    }
    if network not in network_of:
        raise InputError(f"glow got network={network!r}: use 'conv' or 'residual'.")
    seeds = itertools.count(seed)

    def step() -> Iterator[layers.FlowLayer]:
        """Yields the layers of a step from data to latent."""
        net, transformer = network_of[network](), transformer_of[coupling]()
        yield layers.ActNorm()
        yield layers.Conv1x1(lu=lu, seed=next(seeds))
        yield layers.Coupling(net, transformer=transformer, condition_size=condition_size)

    def split_prior() -> layers.FlowLayer:
        """Returns the layer for the second half of the channels, the one that `Multiscale` factors out."""
        transformer = transformers.Affine(scale="clamp")
        return layers.Coupling(nets.ZeroConv2D(), transformer=transformer, condition_size=condition_size)

    levels = []
    for level in range(num_levels):
        from_data = [layers.Squeeze(), *(layer for _ in range(num_steps) for layer in step())]
        if level < num_levels - 1:
            from_data.append(split_prior())
        elif learn_top:
            from_data.append(layers.ChannelAffine(condition_size))
        levels.append(layers.Chain.from_data(from_data, recompute=recompute))
    return layers.Chain.from_data([data_end(num_values, rescale, alpha, per_pixel), layers.Multiscale(levels[::-1])])
