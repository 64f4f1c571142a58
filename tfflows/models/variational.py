"""Variational dequantization."""

from tfflows import dequantizers, layers, nets


def variational(event_shape, num_values=256, *, num_couplings=4, filters=16, num_blocks=2):
    """A dequantizer q(u | image): checkerboard affine couplings whose networks read the image.

    Arguments: `num_couplings`; `filters` and `num_blocks` of the residual networks.

    Flow++ uses mixtures of logistics with attention; this is the smaller form of the UvA deep learning tutorial on
    normalizing flows (Lippe 2022), 4 couplings of 16 filters, with this library's network.

    Reference: Ho, Chen, Srinivas, Duan and Abbeel 2019, "Flow++", arXiv 1902.00275, section 3.1.
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
