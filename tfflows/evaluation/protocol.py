"""Test bits/dim by the protocol of a recipe."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from tfflows.evaluation import scores
from tfflows.flow import Flow, batches
from tfflows.zoo.recipe import EvaluationConfig

if TYPE_CHECKING:
    import tensorflow as tf


def evaluate(
    flow: Flow,
    images: "np.ndarray | Mapping[str, np.ndarray] | tf.data.Dataset | keras.utils.PyDataset",
    evaluation: EvaluationConfig,
    batch_size: int = 256,
    verbose: int = 0,
) -> dict[str, Any]:
    """Returns the bits/dim of a flow on images, with the draws behind it, ready for JSON.

    Each draw is the mean over the images of a single-sample bound, with noise of its own; `bits_per_dim` is the mean
    of the draws. The importance-weighted bound of Burda et al. 2016 is tighter, and comparable only to figures with
    the same number of samples. Of a class-conditional flow these are figures of p(x | label);
    `mixture_bits_per_dim` is that of p(x), the mixture of the classes with equal weights, by one sample.

    The images are read once: each batch gets all draws. The noise depends on the seed and the image alone, so that the
    size of the batches changes no more than the last digits.

    Args:
        flow: a flow with a dequantizer.
        images: integers [N, H, W, C], a dict with `image` and, for a class-conditional flow, `label`, or a data set of
            batches of them, as `data.batches` returns.
        evaluation: the protocol.
        batch_size: images that are evaluated at once; a data set has batches of its own.
        verbose: 1 for Keras's progress bar.
    """
    first, count = evaluation.seed, evaluation.num_draws
    protocols = dict.fromkeys(range(first, first + count), 1)
    protocols[first + count] = evaluation.num_importance_samples
    found = {seed: [] for seed in protocols}
    mixture = []
    progress = keras.utils.Progbar(_number(images, batch_size), verbose=verbose, unit_name="batch")
    for batch in _batches(images, batch_size):
        at_once = {"batch_size": _length(batch)}
        for seed, num_samples in protocols.items():
            found[seed].append(flow.bits_per_dim(batch, num_samples=num_samples, seed=seed, **at_once))
        if flow.num_classes is not None:
            mixture.append(scores.bits_per_dim(flow, batch["image"], seed=first, **at_once))
        progress.add(1)
    *draws, importance = (float(np.concatenate(bits).mean()) for bits in found.values())
    several = f"mean of {count} independent single-sample bounds, seeds {first} to {first + count - 1}"
    return {
        "bits_per_dim": float(np.mean(draws)),
        "protocol": several if count > 1 else f"one single-sample bound, seed {first}",
        "draws": draws,
        "importance_bits_per_dim": importance,
        "num_importance_samples": evaluation.num_importance_samples,
        **({"mixture_bits_per_dim": float(np.concatenate(mixture).mean())} if mixture else {}),
        "num_images": sum(map(len, found[first])),
    }


def _batches(images: Any, batch_size: int) -> Iterator[Any]:
    if not batches.is_array(images):
        yield from map(batches.to_numpy, batches.iterate(images))
        return
    for start in range(0, _length(images), batch_size):
        rows = slice(start, start + batch_size)
        yield {key: value[rows] for key, value in images.items()} if isinstance(images, Mapping) else images[rows]


def _number(images: Any, batch_size: int) -> int | None:
    """Returns the number of batches; None where it is not known."""
    if batches.is_array(images):
        return -(-_length(images) // batch_size)
    number = images.num_batches if isinstance(images, keras.utils.PyDataset) else int(images.cardinality())
    return None if number is None or number < 0 else number


def _length(images: Any) -> int:
    return len(images["image"] if isinstance(images, Mapping) else images)
