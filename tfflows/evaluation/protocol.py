"""Test bits/dim by the protocol of a recipe."""

import numpy as np

from tfflows.evaluation import scores


def evaluate(flow, images, evaluation, batch_size=256):
    """Bits/dim of a flow on images, with the draws behind it.

    Each draw is the mean over the images of a single-sample bound, with noise of its own; `bits_per_dim` is
    the mean of the draws. The importance-weighted bound of Burda et al. 2016 is tighter, and comparable only
    to figures that have the same number of samples. Of a class-conditional flow these are figures of p(x | label);
    `mixture_bits_per_dim` is that of p(x), the mixture of the classes with equal weights, by one sample.

    Args:
        flow: a `Flow` with a dequantizer.
        images: integers [N, H, W, C], or a dict with `image` and, for a conditional flow, `label`.
        evaluation: a `recipe.Evaluation`.

    Returns:
        A dict, ready for JSON.
    """

    def mean_bits(seed, num_samples=1):
        return float(flow.bits_per_dim(images, num_samples=num_samples, seed=seed, batch_size=batch_size).mean())

    first, count = evaluation.seed, evaluation.num_draws
    draws = [mean_bits(seed) for seed in range(first, first + count)]
    mixture = {}
    if flow.num_classes is not None:
        bits = scores.likelihood(flow, images["image"], seed=first, batch_size=batch_size)
        mixture["mixture_bits_per_dim"] = float(bits.mean())
    return {
        "bits_per_dim": float(np.mean(draws)),
        "protocol": f"mean of {count} independent single-sample bounds, seeds {first} to {first + count - 1}",
        "draws": draws,
        "importance_bits_per_dim": mean_bits(first + count, evaluation.num_importance_samples),
        "num_importance_samples": evaluation.num_importance_samples,
        **mixture,
        "num_images": len(images["image"] if isinstance(images, dict) else images),
    }
