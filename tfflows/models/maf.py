"""Masked autoregressive flow."""

from typing import Literal

from tfflows import layers, nets, transformers
from tfflows._backend import Shape
from tfflows.models.rescaling import Rescaling, data_end
from tfflows.zoo.hints import Natural, NonNegative, Positive, Rate


def maf(
    event_shape: Shape,
    num_values: int = 256,
    condition_size: int = 0,
    *,
    num_layers: Natural = 5,
    hidden: tuple[Positive, ...] = (1024, 1024),
    degrees: Literal["sequential", "random"] = "sequential",
    transformer: Literal["affine", "spline"] = "affine",
    mixture_components: Natural = 0,
    batch_norm: bool = True,
    alpha: float = 1e-6,
    rescale: Rescaling = "logit",
    per_pixel: bool = False,
    dropout: Rate = 0.0,
    l2: NonNegative = 0.0,
) -> layers.Chain:
    """Returns MAF: autoregressive layers with the order of the dimensions reversed between them.

    x [B, H, W, C] in [0, num_values) <-> z [B, H W C]. Each layer has a MADE of its own; the order of the first is
    that of the pixels. `alpha` is the lambda of the paper's logit: 1e-6 for MNIST, 0.05 for CIFAR-10.

    The paper starts from random weights where here the last layer of a MADE is zero. Batch normalisation is evaluated
    with averages over training images as in the paper, see `Flow.update_statistics`.

    Args:
        event_shape: [H, W, C].
        num_values: the number of grey values.
        condition_size: channels of the condition that all networks read, or 0.
        num_layers: the number of autoregressive layers besides that of mixtures.
        hidden: the widths in each MADE.
        degrees: "sequential" or "random" (the paper's choice for CIFAR-10).
        transformer: "affine" or "spline".
        mixture_components: where not 0, one more MADE next to the base has mixtures of so many normals as its
            conditionals (MAF MoG; alone, with num_layers=0, it is MADE MoG).
        batch_norm: whether batch normalisation follows each layer, and so also stands before the base.
        alpha: of the logit.
        rescale: "linear", "logit" or "gaussianize".
        per_pixel: whether the Gaussianization has masses for each pixel.
        dropout: on hidden units.
        l2: on the kernels.

    Reference:
        Papamakarios, Pavlakou and Murray 2017, "Masked autoregressive flow for density estimation", arXiv 1705.07057,
        sections 3, 4.2 and appendices B and D.
    """
    of_layers = [transformer] * num_layers
    if mixture_components:
        of_layers.append(transformers.MixtureOfGaussians(mixture_components))
    from_data = [data_end(num_values, rescale, alpha, per_pixel), layers.Flatten()]
    for index, each in enumerate(of_layers):
        if index:
            from_data.append(layers.Permute("reverse"))
        net = nets.MADE(hidden, degrees=degrees, dropout=dropout, l2=l2, condition_size=condition_size, seed=index)
        from_data.append(layers.Autoregressive(net, each))
        if batch_norm and index < num_layers:  # not between the mixtures and the base, whose density they are
            from_data.append(layers.BatchNorm(learned=True, epsilon=1e-5))
    return layers.Chain.from_data(from_data)
