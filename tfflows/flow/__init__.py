"""`Flow`, a Keras model with an exact likelihood, its base distributions, and `check_flow_layer`."""

from tfflows.flow.base import BaseDistribution
from tfflows.flow.check import check_flow_layer
from tfflows.flow.distribution import FlowDistribution
from tfflows.flow.flow import Flow

__all__ = ["BaseDistribution", "Flow", "FlowDistribution", "check_flow_layer"]
