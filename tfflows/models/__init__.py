"""The model families: name -> function(event_shape, num_values, condition_size, **arguments) returning a FlowLayer.

The type hints of a family's arguments say what a recipe may set them to.
"""

from tfflows.models.glow import glow
from tfflows.models.maf import maf
from tfflows.models.maf_conv import maf_conv
from tfflows.models.neural_spline import neural_spline
from tfflows.models.nice import nice
from tfflows.models.realnvp import realnvp
from tfflows.models.variational import variational

MODELS = {
    "glow": glow,
    "maf": maf,
    "maf_conv": maf_conv,
    "neural_spline": neural_spline,
    "nice": nice,
    "realnvp": realnvp,
}

# Dequantizers that need a network: name -> function(event_shape, num_values, **arguments) returning a layer.
DEQUANTIZERS = {"variational": variational}
