"""tfflows: normalizing flows for images, as Keras models on TensorFlow Probability bijectors."""

from tfflows import layers, models, nets, zoo
from tfflows.flow import Flow

__all__ = ["Flow", "layers", "models", "nets", "zoo"]
