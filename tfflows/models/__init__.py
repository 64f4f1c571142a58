"""The model families: name -> function(event_shape, num_values, condition_size, **arguments) returning a FlowLayer."""

from tfflows.models.glow import glow
from tfflows.models.nice import nice
from tfflows.models.realnvp import realnvp

MODELS = {"glow": glow, "nice": nice, "realnvp": realnvp}
