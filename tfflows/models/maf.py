"""Masked autoregressive flow."""

from typing import Literal

from tfflows import layers, nets, transformers
from tfflows._types import Natural, NonNegative, Positive, Rate


def maf(
    event_shape,
    num_values=256,
    condition_size=0,
    *,
    num_layers: Natural = 5,
    hidden: tuple[Positive, ...] = (1024, 1024),
    degrees: Literal["sequential", "random"] = "sequential",
    transformer: Literal["affine", "spline"] = "affine",
    mixture_components: Natural = 0,
    batch_norm: bool = True,
    alpha: float = 1e-6,
    dropout: Rate = 0.0,
    l2: NonNegative = 0.0,
):
    """Autoregressive layers with the order of the dimensions reversed between them.

    x [B, H, W, C] in [0, num_values) <-> z [B, H W C]. Each layer has a MADE of its own; the order of the first is
    that of the pixels. `alpha` is the lambda of the paper's logit: 1e-6 for MNIST, 0.05 for CIFAR-10.

    Arguments: `num_layers`; `hidden`, the widths in each MADE; `degrees`, "sequential" or "random" (the paper's choice
    for CIFAR-10); `transformer`, "affine" or "spline"; `mixture_components`, where not 0, adds one more MADE next to
    the base, whose conditionals are mixtures of so many normals (MAF MoG; alone, with num_layers=0, it is MADE MoG);
    `batch_norm`, after every layer, and so also before the base; `dropout` on hidden units and `l2` on the kernels.
    The paper starts from random weights where here the last layer of a MADE is zero, and takes the batch
    normalisation's averages over the training set where here they run.

    Reference: Papamakarios, Pavlakou and Murray 2017, "Masked autoregressive flow for density estimation",
    arXiv 1705.07057, sections 3, 4.2 and appendices B and D.
    """
    of_layers = [transformer] * num_layers
    if mixture_components:
        of_layers.append(transformers.MixtureOfGaussians(mixture_components))
    from_data = [layers.Logit(num_values, alpha), layers.Flatten()]
    for index, each in enumerate(of_layers):
        if index:
            from_data.append(layers.Permute("reverse"))
        net = nets.MADE(hidden, degrees=degrees, dropout=dropout, l2=l2, condition_size=condition_size, seed=index)
        from_data.append(layers.Autoregressive(net, each))
        if batch_norm and index < num_layers:  # not between the mixtures and the base, whose density they are
            from_data.append(layers.BatchNorm(learned=True, epsilon=1e-5))
    return layers.Chain(from_data[::-1])
