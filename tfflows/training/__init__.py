"""Training of recipes by the command line and from Python, with checkpoints, on one device or many."""

from tfflows.training.run import Run, train

__all__ = ["Run", "train"]
