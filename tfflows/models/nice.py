"""NICE."""

from tfflows import layers, nets
from tfflows._backend import Shape
from tfflows.models.rescaling import Rescaling, data_end
from tfflows.zoo.hints import Positive, Rate


def nice(
    event_shape: Shape,
    num_values: int = 256,
    condition_size: int = 0,
    *,
    num_couplings: Positive = 4,
    hidden: tuple[Positive, ...] = (1000,) * 5,
    dropout: Rate = 0.0,
    alpha: float | None = None,
    rescale: Rescaling | None = None,
    per_pixel: bool = False,
) -> layers.Chain:
    """Returns NICE: additive couplings that alternate the odd and the even units, then a diagonal scaling.

    x [B, H, W, C] in [0, num_values) <-> z [B, H W C]. Meant for a logistic base.

    The paper has 4 couplings with 5 hidden layers of 1000 rectified units on MNIST and pixels in [0, 1]; its released
    configuration differs for other data (8 couplings on CIFAR-10, a "tile" reordering of MNIST's units): the paper is
    followed, with the first coupling modifying the even units. Pixels are moved to [-1/2, 1/2), a shift by 1/2 that
    the first layers' biases absorb. With `alpha` they go through RealNVP's logit instead: what a unit's one scale has
    to cover is then alike for the noise of dark, of bright and of uncertain pixels.

    Args:
        event_shape: [H, W, C].
        num_values: the number of grey values.
        condition_size: channels of the condition that all networks read, or 0.
        num_couplings: the number of coupling layers.
        hidden: the widths of the hidden layers.
        dropout: after each hidden layer.
        alpha: of the logit, if it is chosen.
        rescale: "linear", "logit" or "gaussianize"; by default "logit" where `alpha` is given, else "linear".
        per_pixel: whether the Gaussianization has masses for each pixel.

    Reference:
        Dinh, Krueger and Bengio 2015, "NICE: non-linear independent components estimation", arXiv 1410.8516,
        sections 3.2, 3.3 and 5.1.
    """
    couplings = [
        layers.Coupling(
            nets.MLP(hidden, dropout=dropout),
            mask="odd_even",
            flip=index % 2 == 1,
            transformer="additive",
            condition_size=condition_size,
        )
        for index in range(num_couplings)
    ]
    rescaling = data_end(num_values, rescale, alpha, per_pixel)
    return layers.Chain.from_data([rescaling, layers.Flatten(), *couplings, layers.DiagonalScale()])
