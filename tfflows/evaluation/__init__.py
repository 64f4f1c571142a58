"""Evaluation of trained flows: test bits/dim, anomaly scores, numerical robustness, pictures of samples."""

from tfflows.evaluation.protocol import evaluate

__all__ = ["evaluate"]
