"""The data of `fit`, `evaluate`, `predict` and their `_on_batch`: what they accept, and how it reaches `Flow.call`."""

import contextlib
import math
import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from tfflows import errors
from tfflows._backend import Tensor
from tfflows.errors import InputError
from tfflows.flow import inputs
from tfflows.layers.base import INITIAL_BATCH

LARGEST_ARRAY = 2**24  # pixels that data-dependent initialisation holds at once
EMPTY = "The data set is empty: give one with at least one batch."


def split(flow: Any, batch: Any) -> tuple[Tensor, Tensor | None]:
    """Returns x and the condition [B, N] of a batch as `Flow.call` gets it: x alone or a dict."""
    if isinstance(batch, tuple | list):
        batch = batch[0]
    x, condition = inputs.unpack(flow, batch) if isinstance(batch, dict) else (batch, None)
    inputs.check_array(flow, "Flow", x, flow.dequantizer is not None)
    if not inputs.is_conditional(flow):
        return x, None
    return x, inputs.encode_condition(flow, "Flow", condition)


def prepare(flow: Any, method: str, data: Any, y: Any = None) -> Any:
    """Checks the data of one of Keras's methods, and keeps the keys that the flow reads.

    `tfds` gives dicts with more keys (`id`, a string, cannot go to a JAX device) and (image, label) pairs.

    Args:
        flow: whose method it is.
        method: the name of the method, for messages.
        data: an array, a dict of arrays, a `tf.data.Dataset` or a `PyDataset`; anything else is returned as it is.
        y: a conditional flow refuses it; others ignore it.
    """
    if y is not None:
        _refuse_y(flow, method)
    keys = ("image", "condition") if flow.condition_size else ("image", "label") if flow.num_classes else ("image",)

    def select(x: Any) -> Any:
        return {key: x[key] for key in keys if key in x} if isinstance(x, dict) else x

    spec = getattr(data, "element_spec", None)
    if spec is not None:  # a tf.data.Dataset
        if int(data.cardinality()) == 0:
            raise InputError(EMPTY)
        if isinstance(spec, tuple) and len(spec) == 1:  # as Keras, x alone
            return prepare(flow, method, data.map(lambda x: x), y)
        first = spec[0] if isinstance(spec, tuple) else spec
        image = inputs.unpack(flow, first)[0] if isinstance(first, dict) else first
        inputs.check_array(flow, method, image, flow.dequantizer is not None)
        if not isinstance(spec, tuple):
            return data.map(lambda x: _guard(flow, select(x)))
        if len(spec) == 2:
            _refuse_y(flow, method)
            return data.map(lambda x, y: _guard(flow, select(x)))
        return data.map(lambda x, y, weight: (_guard(flow, select(x)), y, weight))
    if isinstance(data, keras.utils.PyDataset):
        inputs.check(flow, method, first_batch(data))
    if is_array(data):
        inputs.check(flow, method, data)
        return {key: _to_array(value) for key, value in select(data).items()} if isinstance(data, dict) else data
    return data


def prepare_batch(flow: Any, method: str, x: Any, y: Any = None) -> Any:
    """Checks one batch, an array or a dict, and keeps the keys that the flow reads."""
    return prepare(flow, method, x if is_array(x) else np.asarray(x), y)


def is_array(data: Any) -> bool:
    """Returns whether `data` is all of the data at once: an array, a tensor or a dict of them."""
    return isinstance(data, np.ndarray | dict) or ops.is_tensor(data)


def placeholder(sample_weight: Any) -> np.ndarray | None:
    """Returns a y that nothing reads where there are sample weights: Keras drops the weights of data without y."""
    return None if sample_weight is None else np.zeros(len(sample_weight), "float32")


def before_validation(data: Any, validation_split: float | None) -> Any:
    """Returns what `fit` trains on: arrays without the last part, which Keras validates on."""
    if not (validation_split and is_array(data)):
        return data
    if isinstance(data, dict):
        return {key: before_validation(value, validation_split) for key, value in data.items()}
    return data[: math.floor(len(data) * (1 - validation_split))]


def first_batch(data: Any) -> Any:
    """Returns x, or a dict with it: the first images of an array, or the first batch of a data set."""
    if isinstance(data, dict):
        return {key: value[:INITIAL_BATCH] for key, value in data.items()}
    if isinstance(data, np.ndarray) or ops.is_tensor(data):
        return data[:INITIAL_BATCH]
    if isinstance(data, keras.utils.PyDataset):
        return to_numpy(data[0])
    if hasattr(data, "take"):
        for batch in data.take(1):
            return to_numpy(batch)
        raise InputError(EMPTY)
    raise InputError(
        f"A flow with data-dependent layers cannot be initialised from a {type(data).__name__}, which can be read only "
        "once: call adapt(batch) with one batch before fit."
    )


def initial(flow: Any, data: Any) -> Any:
    """Returns the images of `Flow.adapt`: the first batch, or as many as the layer at the data end wants."""
    batch, wanted = first_batch(data), flow.transform.initial_images
    if not wanted:
        return batch
    return choose(data, min(wanted, max(INITIAL_BATCH, LARGEST_ARRAY // math.prod(flow.event_shape))))


def choose(data: Any, num_images: int) -> Any:
    """Returns at most `num_images` images of `fit`'s data, with their labels, in memory.

    Args:
        data: an array, a dict of arrays, a `tf.data.Dataset` or a `PyDataset`. Of arrays every k-th image is taken, so
            that data sorted by class are represented; of data sets the first batches.
        num_images: how many.
    """
    if is_array(data):
        first = next(iter(data.values())) if isinstance(data, dict) else data
        rows = slice(None, None, -(-len(first) // num_images))
        return {key: value[rows] for key, value in data.items()} if isinstance(data, dict) else data[rows]
    batches, count = [], 0
    for batch in iterate(data):
        batches.append(to_numpy(batch))
        count += len(batches[-1]["image"] if isinstance(batches[-1], dict) else batches[-1])
        if count >= num_images:
            break
    if not batches:
        raise InputError(EMPTY)
    if isinstance(batches[0], dict):
        return {key: np.concatenate([batch[key] for batch in batches])[:num_images] for key in batches[0]}
    return np.concatenate(batches)[:num_images]


def iterate(data: Any) -> Iterator[Any]:
    """Yields the batches of a `tf.data.Dataset` or a `PyDataset`, once each where it has an end."""
    if isinstance(data, keras.utils.PyDataset):
        count, index = data.num_batches, 0
        while count is None or index < count:
            yield data[index]
            index += 1
    else:
        yield from data


@contextlib.contextmanager
def one_sentence() -> Iterator[None]:
    """A context in which an error of a tf.data pipeline becomes the one of tfflows it stands for.

    `_guard` stops pipelines whose images are out of range; an error in Python that a pipeline runs is in its message.
    """
    try:
        yield
    except Exception as error:
        if type(error).__module__.startswith("tensorflow"):
            found = re.search(r"tfflows\.errors\.(\w+): (.+)", str(error))
            if found:
                raise getattr(errors, found[1])(found[2]) from None
        for sentence in (inputs.IMAGES, inputs.LABELS):
            pattern = re.escape(sentence).replace(r"\{\}", "-?[0-9]+")
            if type(error).__name__ == "InvalidArgumentError" and (found := re.search(pattern, str(error))):
                raise InputError(found.group()) from None
        raise


def _guard(flow: Any, x: Any) -> Any:
    """Stops a tf.data pipeline at a batch with values out of range: its graph cannot raise our exceptions."""
    import tensorflow as tf

    image = x.get("image") if isinstance(x, dict) else x
    checks = []
    if flow.dequantizer is not None and image is not None and image.dtype.is_integer:
        checks.append((image, flow.num_values, inputs.IMAGES))
    if flow.num_classes is not None and isinstance(x, dict) and "label" in x:
        checks.append((x["label"], flow.num_classes, inputs.LABELS))
    for values, number, sentence in checks:
        low, high = (tf.cast(reduce(values), tf.int64) for reduce in (tf.reduce_min, tf.reduce_max))
        inside = tf.logical_and(low >= 0, high < number)
        tf.debugging.Assert(inside, [tf.strings.format(sentence, (low, high, number - 1))])
    return x


def to_numpy(batch: Any) -> Any:
    """Returns x, or a dict with it, of a batch of a data set, in memory."""
    if isinstance(batch, tuple | list):
        return to_numpy(batch[0])
    if isinstance(batch, dict):
        return {key: to_numpy(value) for key, value in batch.items()}
    return np.asarray(batch)


def _to_array(x: Any) -> Any:
    return x if ops.is_tensor(x) else np.asarray(x)


def _refuse_y(flow: Any, method: str) -> None:
    if inputs.is_conditional(flow):
        raise InputError(
            f"This flow is conditional and {method} got (x, y): give it dicts with the keys 'image' and "
            f"'{'condition' if flow.condition_size else 'label'}' instead, as tfds.load does without as_supervised."
        )
