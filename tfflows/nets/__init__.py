"""Conditioners: the networks inside flow layers.

They follow Keras's dtype policy; their last layer is float32 at least. It starts at zero, so that a new flow starts as
its elementwise maps at zero parameters (the identity for most).
"""

from tfflows.nets.base import Conditioner
from tfflows.nets.conv_resnet import ConvResNet, WeightNormConv2D
from tfflows.nets.glow import GlowConvNet, ZeroConv2D
from tfflows.nets.made import MADE
from tfflows.nets.mlp import MLP
from tfflows.nets.periodic import Periodic, PeriodicMADE
from tfflows.nets.pixelcnn import GatedBlock, PixelCNN
from tfflows.nets.preactivation import PreActivationResNet

__all__ = [
    "MADE",
    "MLP",
    "Conditioner",
    "ConvResNet",
    "GatedBlock",
    "GlowConvNet",
    "Periodic",
    "PeriodicMADE",
    "PixelCNN",
    "PreActivationResNet",
    "WeightNormConv2D",
    "ZeroConv2D",
]
