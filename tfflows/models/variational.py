"""Variational dequantization."""

from tfflows import dequantizers, layers, nets
from tfflows._backend import Shape


def variational(
    event_shape: Shape, num_values: int = 256, *, num_couplings: int = 4, filters: int = 16, num_blocks: int = 2
) -> dequantizers.VariationalDequantizer:
    """Returns a dequantizer q(u | image): checkerboard affine couplings whose networks read the image.

    Flow++ uses mixtures of logistics with attention; this is the smaller form of the UvA deep learning tutorial on
    normalizing flows (Lippe 2022), 4 couplings of 16 filters, with this library's network.

    Args:
        event_shape: [H, W, C].
        num_values: the number of grey values.
        num_couplings: the number of couplings.
        filters: of the residual networks.
        num_blocks: of the residual networks.

    Reference:
        Ho, Chen, Srinivas, Duan and Abbeel 2019, "Flow++", arXiv 1902.00275, section 3.1.
    """
    couplings = [
        layers.Coupling(
            nets.ConvResNet(filters, num_blocks),
            mask="checkerboard",
            flip=index % 2 == 1,
            condition_size=event_shape[-1],
        )
        for index in range(num_couplings)
    ]
    return dequantizers.VariationalDequantizer(layers.Chain(couplings), num_values)
