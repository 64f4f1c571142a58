"""Glow."""

import itertools
from typing import Literal

from tfflows import layers, nets, transformers
from tfflows._types import Natural, Positive, Rate
from tfflows.errors import InputError


def glow(
    event_shape,
    num_values=256,
    condition_size=0,
    *,
    num_levels: Positive = 3,
    num_steps: Positive = 32,
    width: Positive = 512,
    coupling: Literal["affine", "additive"] = "affine",
    lu: bool = False,
    learn_top: bool = True,
    dropout: Rate = 0.0,
    alpha: float | None = None,
    seed: Natural = 0,
    recompute: Literal["inverse"] | None = None,
):
    """Glow: multi-scale flow of actnorm, invertible 1x1 convolution and coupling.

    x [B, H, W, C] in [0, num_values) <-> z [B, H W C]; H and W divisible by 2^num_levels. Each level
    squeezes, takes `num_steps` steps, and but for the last factors out half of its channels, whose mean and
    scale a zero convolution of the other half predicts. These learned priors are couplings, and that of the
    top level a scale and shift of each channel: the base is standard normal and temperature acts everywhere.

    Arguments: `num_levels` (L) and `num_steps` (K); `width` and `dropout` of the coupling networks;
    `coupling`, "affine" or "additive"; `lu`, the form of the 1x1 convolutions, whose rotations have the seeds
    `seed`, `seed` + 1, ...; `learn_top`, whether the top level's prior is learned; `alpha` of RealNVP's logit,
    which suits images with much pure black, or None for the paper's linear scaling; `recompute`, None or "inverse",
    see `layers.Chain`.

    Where the released code (openai/glow) differs from the paper's text, this follows the code on the scale
    sigmoid(h + 2), the zero convolution's factor 3, the full matrix W and the learned priors, the paper on
    actnorm and padding (see `layers.ActNorm`, `nets.GlowConvNet`). The code takes W's determinant in
    float64 and gives a class to the top prior alone; here it is in float32, and all networks get the class.

    Reference: Kingma and Dhariwal 2018, "Glow: generative flow with invertible 1x1 convolutions", arXiv
    1807.03039.
    """
    if coupling not in ("affine", "additive"):
        raise InputError(f"glow got coupling={coupling!r}: use 'affine' or 'additive'.")
    seeds = itertools.count(seed)

    def step():
        """From data to latent."""
        transformer = transformers.Affine(scale="sigmoid") if coupling == "affine" else "additive"
        net = nets.GlowConvNet(width, dropout=dropout)
        yield layers.ActNorm()
        yield layers.Conv1x1(lu=lu, seed=next(seeds))
        yield layers.Coupling(net, transformer=transformer, condition_size=condition_size)

    def split_prior():
        """Acts on the second half of the channels, the one that `Multiscale` factors out."""
        transformer = transformers.Affine(scale="clamp")
        return layers.Coupling(nets.ZeroConv2D(), transformer=transformer, condition_size=condition_size)

    levels = []
    for level in range(num_levels):
        from_data = [layers.Squeeze(), *(layer for _ in range(num_steps) for layer in step())]
        if level < num_levels - 1:
            from_data.append(split_prior())
        elif learn_top:
            from_data.append(layers.ChannelAffine(condition_size))
        levels.append(layers.Chain(from_data[::-1], recompute=recompute))
    rescale = layers.Rescale(num_values) if alpha is None else layers.Logit(num_values, alpha)
    return layers.Chain([layers.Multiscale(levels[::-1]), rescale])
