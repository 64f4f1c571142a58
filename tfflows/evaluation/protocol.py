"""Test bits/dim by the protocol of a recipe."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfflows.evaluation import scores
from tfflows.flow import Flow
from tfflows.zoo.recipe import EvaluationConfig


def evaluate(
    flow: Flow, images: np.ndarray | Mapping[str, np.ndarray], evaluation: EvaluationConfig, batch_size: int = 256
) -> dict[str, Any]:
    """Returns the bits/dim of a flow on images, with the draws behind it, ready for JSON.

    Each draw is the mean over the images of a single-sample bound, with noise of its own; `bits_per_dim` is the mean
    of the draws. The importance-weighted bound of Burda et al. 2016 is tighter, and comparable only to figures with
    the same number of samples. Of a class-conditional flow these are figures of p(x | label);
    `mixture_bits_per_dim` is that of p(x), the mixture of the classes with equal weights, by one sample.

    Args:
        flow: a flow with a dequantizer.
        images: integers [N, H, W, C], or a dict with `image` and, for a class-conditional flow, `label`.
        evaluation: the protocol.
        batch_size: images that are evaluated at once.
    """

    def mean_bits(seed: int, num_samples: int = 1) -> float:
        return float(flow.bits_per_dim(images, num_samples=num_samples, seed=seed, batch_size=batch_size).mean())

    first, count = evaluation.seed, evaluation.num_draws
    draws = [mean_bits(seed) for seed in range(first, first + count)]
    mixture = {}
    if flow.num_classes is not None:
        bits = scores.bits_per_dim(flow, images["image"], seed=first, batch_size=batch_size)
        mixture["mixture_bits_per_dim"] = float(bits.mean())
    return {
        "bits_per_dim": float(np.mean(draws)),
        "protocol": f"mean of {count} independent single-sample bounds, seeds {first} to {first + count - 1}",
        "draws": draws,
        "importance_bits_per_dim": mean_bits(first + count, evaluation.num_importance_samples),
        "num_importance_samples": evaluation.num_importance_samples,
        **mixture,
        "num_images": len(images["image"] if isinstance(images, Mapping) else images),
    }
