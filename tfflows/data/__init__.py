"""Images for training and evaluation: from TensorFlow Datasets, the user's files, or the digits of scikit-learn."""

from tfflows.data.pipeline import SPLITS, arrays, batches, training_batches, version

__all__ = ["SPLITS", "arrays", "batches", "training_batches", "version"]
