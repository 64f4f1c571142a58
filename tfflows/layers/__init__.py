"""Flow layers: invertible maps with log-determinants. `base.py` states their contract."""

from tfflows.layers.actnorm import ActNorm
from tfflows.layers.autoregressive import Autoregressive
from tfflows.layers.base import BijectorLayer, FlowLayer
from tfflows.layers.batchnorm import BatchNorm
from tfflows.layers.compose import Chain, Multiscale
from tfflows.layers.continuous import Continuous
from tfflows.layers.conv1x1 import Conv1x1
from tfflows.layers.coupling import Coupling
from tfflows.layers.gaussianize import Gaussianize
from tfflows.layers.invert import Invert
from tfflows.layers.permute import Permute
from tfflows.layers.planar import Planar
from tfflows.layers.rescale import Logit, Rescale
from tfflows.layers.scale import ChannelAffine, DiagonalScale
from tfflows.layers.sphere import Cylinder, Rotation
from tfflows.layers.squeeze import Flatten, Squeeze

__all__ = [
    "ActNorm",
    "Autoregressive",
    "BatchNorm",
    "BijectorLayer",
    "Chain",
    "ChannelAffine",
    "Continuous",
    "Conv1x1",
    "Coupling",
    "Cylinder",
    "DiagonalScale",
    "Flatten",
    "FlowLayer",
    "Gaussianize",
    "Invert",
    "Logit",
    "Multiscale",
    "Permute",
    "Planar",
    "Rescale",
    "Rotation",
    "Squeeze",
]
