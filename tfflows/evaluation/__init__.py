"""What trained flows are worth: test bits/dim, anomaly scores, robustness, pictures of samples."""

from tfflows.evaluation.protocol import evaluate

__all__ = ["evaluate"]
