"""What may be given to a flow, and the one sentence for what may not."""

import contextlib
import math
import re

import keras
import numpy as np
from keras import ops

from tfflows import _backend
from tfflows.errors import InputError, InputTypeError
from tfflows.layers.base import FlowLayer

INITIAL_BATCH = 256  # images of an array that data-dependent initialisation looks at
EMPTY = "The data set is empty: give one with at least one batch."
IMAGES = "The images have values from {} to {}: this flow takes integers from 0 to {}, as its data set stores them."
LABELS = "The labels are from {} to {}: this flow takes labels from 0 to {}, its num_classes less one."


def check_flow(flow):
    """TypeError or ValueError for arguments of `Flow` that are none, or that do not go together."""
    if not isinstance(flow.transform, FlowLayer):
        raise InputTypeError(
            f"Flow got transform={flow.transform!r}: it must be a FlowLayer, for example layers.Chain."
        )
    sides = flow.event_shape if isinstance(flow.event_shape, tuple) else ()
    if not sides or not all(_is_integer(side) and side > 0 for side in sides):
        raise InputError(f"Flow got event_shape={flow.event_shape}: it must be positive integers, as (28, 28, 1).")
    for name, minimum in (("num_values", 2), ("num_classes", 2), ("condition_size", 1)):
        value = getattr(flow, name)
        if value is not None and not (_is_integer(value) and value >= minimum):
            raise InputError(f"Flow got {name}={value!r}: it must be an integer of at least {minimum}, or None.")
    if flow.dequantizer is not None and flow.num_values is None:
        raise InputError("Flow got num_values=None: a flow that dequantizes needs the number of grey values, as 256.")
    if flow.num_classes and flow.condition_size:
        raise InputError("Flow got num_classes and condition_size: give one, a label is a condition of num_classes.")
    given, read = flow.num_classes or flow.condition_size or 0, flow.transform.condition_size
    if given != read:
        other = f"give Flow num_classes or condition_size {read}" if read else "leave out what makes Flow conditional"
        raise InputError(
            f"Flow gives its transform a condition of size {given} and the transform reads one of size {read}: build "
            f"its layers with condition_size={given}, or {other}."
        )
    check_seed("Flow", flow.seed)


def split(flow, batch):
    """(x, condition) of a batch as `fit` gets it: x alone or a dict with `image` and `label` or `condition`."""
    if isinstance(batch, (tuple, list)):
        batch = batch[0]
    x, condition = _unpack(flow, batch) if isinstance(batch, dict) else (batch, None)
    _check_x(flow, x, flow.dequantizer is not None)
    if not _is_conditional(flow):
        return x, None
    return x, _as_condition(flow, condition)


def check(flow, x, condition=None, dequantize=True):
    """(x, condition) as tensors, for the methods that take them apart from `fit`'s data."""
    if isinstance(x, dict):
        x, given = _unpack(flow, x)
        condition = given if condition is None and _is_conditional(flow) else condition
    if not ops.is_tensor(x):
        x = np.asarray(x)
    integers = dequantize and flow.dequantizer is not None
    _check_x(flow, x, integers)
    values = _backend.concrete(x)
    if values is not None:
        if not values.size:
            raise InputError("The batch is empty: give at least one image.")
        if integers and (values.min() < 0 or values.max() >= flow.num_values):
            raise InputError(IMAGES.format(values.min(), values.max(), flow.num_values - 1))
        if not integers and not np.all(np.isfinite(values)):
            raise InputError("x holds NaN or infinite values: a flow takes finite numbers; remove those rows.")
    x = ops.convert_to_tensor(x, dtype=None if integers else flow.dtype)
    return x, check_condition(flow, condition, x.shape[0])


def check_condition(flow, condition, n):
    """The condition [n, N] as a tensor from a label or vector for all, or one for each; None where not conditional."""
    if not _is_conditional(flow):
        if condition is not None:
            raise InputError("This flow is not conditional and got a condition: leave `condition` out.")
        return None
    condition = _as_condition(flow, condition)
    if n is not None and condition.shape[0] == 1 and n != 1:
        condition = ops.broadcast_to(condition, (n, condition.shape[1]))
    if n is not None and condition.shape[0] not in (None, n):
        raise InputError(f"Got {condition.shape[0]} conditions for {n} images: give one for all, or one for each.")
    return condition


def check_latent(flow, z):
    """z [B, *latent_shape] as a tensor."""
    z = z if ops.is_tensor(z) else np.asarray(z)
    if tuple(z.shape[1:]) != tuple(flow.latent_shape):
        expected = ("batch", *flow.latent_shape)
        raise InputError(f"decode got z of shape {tuple(z.shape)}: this flow takes {expected}, as encode returns it.")
    values = _backend.concrete(z)
    if values is not None and not (values.dtype.kind in "fiu" and np.all(np.isfinite(values))):
        raise InputError("decode got z with NaN, infinite or no numbers: give finite numbers, as encode returns them.")
    return ops.convert_to_tensor(z, dtype=flow.dtype)


def check_sampling(flow, n, temperature, seed):
    """ValueError or TypeError for arguments of `sample` out of their range."""
    check_count("sample", n=n)
    largest = 2**31 // math.prod(flow.event_shape)  # kernels count elements in int32
    if n > largest:
        raise InputError(
            f"sample got n={n}: that is too many at once, draw at most {largest} and fewer where memory ends."
        )
    values = np.asarray(temperature)
    numbers = values.dtype.kind in "fiu" and values.shape in ((), (n,))
    if not numbers or not np.all((values >= 0) & np.isfinite(values)):
        raise InputError(f"sample got temperature={temperature!r}: it must be at least 0, one number or {n} of them.")
    if seed is not None:
        check_seed("sample", seed)


def check_count(method, **counts):
    """ValueError unless each is an integer of at least 1."""
    for name, value in counts.items():
        if not _is_integer(value) or value < 1:
            raise InputError(f"{method} got {name}={value!r}: it must be an integer of at least 1.")


def check_seed(method, seed):
    """TypeError or ValueError unless `seed` is an integer that int32, the type in SavedModels, holds."""
    if not _is_integer(seed):
        raise InputTypeError(f"{method} got seed={seed!r}: it must be an integer from 0 to {2**31 - 1}.")
    if not 0 <= seed < 2**31:
        raise InputError(f"{method} got seed={seed}: it must be from 0 to {2**31 - 1}.")


def prepare(flow, data, y=None):
    """The data of `fit`, `evaluate` and `predict`, with the keys that the flow reads and no others.

    `tfds` gives dicts with more keys (`id`, a string, cannot go to a JAX device) and (image, label) pairs.
    """
    if y is not None:
        _refuse_y(flow)
    keys = ("image", "condition") if flow.condition_size else ("image", "label") if flow.num_classes else ("image",)

    def select(x):
        return {key: x[key] for key in keys if key in x} if isinstance(x, dict) else x

    spec = getattr(data, "element_spec", None)
    if spec is not None:  # a tf.data.Dataset
        if int(data.cardinality()) == 0:
            raise InputError(EMPTY)
        first = spec[0] if isinstance(spec, tuple) else spec
        _check_x(flow, _unpack(flow, first)[0] if isinstance(first, dict) else first, flow.dequantizer is not None)
        if not isinstance(spec, tuple):
            return data.map(lambda x: _guard(flow, select(x)))
        if len(spec) == 2:
            _refuse_y(flow)
            return data.map(lambda x, y: _guard(flow, select(x)))
        return data.map(lambda x, y, weight: (_guard(flow, select(x)), y, weight))
    if isinstance(data, keras.utils.PyDataset):
        check(flow, first_batch(data))
    if is_array(data):
        check(flow, data)
        return {key: _to_array(value) for key, value in select(data).items()} if isinstance(data, dict) else data
    return data


def is_array(data):
    """Whether `data` is all of the data at once: an array, a tensor or a dict of them."""
    return isinstance(data, (np.ndarray, dict)) or ops.is_tensor(data)


def placeholder(kwargs):
    """A y that nobody reads where there are sample weights: Keras drops the weights of data without y."""
    if kwargs.get("sample_weight") is None:
        return None
    return np.zeros(len(kwargs["sample_weight"]), "float32")


def first_batch(data):
    """One batch of whatever `fit` accepts, x alone or a dict: an array's first images, or a data set's first batch."""
    if isinstance(data, dict):
        return {key: value[:INITIAL_BATCH] for key, value in data.items()}
    if isinstance(data, np.ndarray) or ops.is_tensor(data):
        return data[:INITIAL_BATCH]
    if isinstance(data, keras.utils.PyDataset):
        return _numpy(data[0])
    if hasattr(data, "take"):
        for batch in data.take(1):
            return _numpy(batch)
        raise InputError(EMPTY)
    raise InputError(
        f"A flow with data-dependent layers cannot be initialised from a {type(data).__name__}, which can be read only "
        "once: call adapt(batch) with one batch before fit."
    )


def _numpy(batch):
    if isinstance(batch, (tuple, list)):
        return _numpy(batch[0])
    if isinstance(batch, dict):
        return {key: _numpy(value) for key, value in batch.items()}
    return np.asarray(batch)


def _unpack(flow, batch):
    if "image" not in batch:
        raise InputError(f"A flow reads the key 'image' of a dict and this one has {sorted(batch)}: rename its array.")
    return batch["image"], batch.get("condition" if flow.condition_size else "label")


@contextlib.contextmanager
def one_sentence():
    """Turns what `_guard` stops a tf.data pipeline with, in an error of TensorFlow's, back into its ValueError."""
    try:
        yield
    except Exception as error:
        for sentence in (IMAGES, LABELS):
            pattern = re.escape(sentence).replace(r"\{\}", "-?[0-9]+")
            if type(error).__name__ == "InvalidArgumentError" and (found := re.search(pattern, str(error))):
                raise InputError(found.group()) from None
        raise


def _guard(flow, x):
    """A batch in a tf.data pipeline, which stops where values are out of range: in a graph nothing can be raised."""
    import tensorflow as tf

    image = x.get("image") if isinstance(x, dict) else x
    checks = []
    if flow.dequantizer is not None and image is not None and image.dtype.is_integer:
        checks.append((image, flow.num_values, IMAGES))
    if flow.num_classes is not None and isinstance(x, dict) and "label" in x:
        checks.append((x["label"], flow.num_classes, LABELS))
    for values, number, sentence in checks:
        low, high = (tf.cast(reduce(values), tf.int64) for reduce in (tf.reduce_min, tf.reduce_max))
        inside = tf.logical_and(low >= 0, high < number)
        tf.debugging.Assert(inside, [tf.strings.format(sentence, (low, high, number - 1))])
    return x


def _is_integer(value):
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _to_array(x):
    return x if ops.is_tensor(x) else np.asarray(x)


def _is_conditional(flow):
    return flow.num_classes is not None or flow.condition_size is not None


def _refuse_y(flow):
    if _is_conditional(flow):
        raise InputError(
            "This flow is conditional and got (x, y): give it dicts with the keys 'image' and "
            f"'{'condition' if flow.condition_size else 'label'}' instead, as tfds.load does without as_supervised."
        )


def _check_x(flow, x, integers):
    if isinstance(x, np.ndarray) and x.dtype.kind not in "fiub":
        raise InputTypeError(f"Got an array of {x.dtype}: a flow takes an array of numbers.")
    kind = keras.backend.standardize_dtype(x.dtype)
    if len(x.shape) == 0 or tuple(x.shape[1:]) != flow.event_shape:
        expected = ", ".join(map(str, ("batch", *flow.event_shape)))
        raise InputError(
            f"Got an array of shape {tuple(x.shape)}: this flow takes [{expected}]; give one image as x[None], and "
            "batch a data set."
        )
    if flow.dequantizer is not None and not integers and "int" in kind:
        raise InputTypeError(
            f"Got {kind} images with dequantize=False: the density of real-valued x takes floats; leave dequantize out "
            "for images."
        )
    if integers and "int" not in kind:
        raise InputTypeError(
            f"Got {kind} images: this flow dequantizes and takes integers from 0 to {flow.num_values - 1} (uint8 as "
            "tfds stores them), without any scaling; for the density of real-valued x use dequantize=False."
        )


def _as_condition(flow, condition):
    if condition is None:
        name = f"'label' (0 to {flow.num_classes - 1})" if flow.num_classes else f"'condition' [{flow.condition_size}]"
        raise InputError(
            "This flow is conditional and got no condition: pass `condition`, or data as dicts with 'image' and "
            f"{name}."
        )
    if not ops.is_tensor(condition):
        condition = np.asarray(condition)
    if flow.num_classes is not None:
        values = _backend.concrete(condition)
        if values is not None:
            if values.dtype.kind not in "iu":
                raise InputTypeError(f"Got labels of dtype {values.dtype}: they must be integers.")
            if values.size and (values.min() < 0 or values.max() >= flow.num_classes):
                raise InputError(LABELS.format(values.min(), values.max(), flow.num_classes - 1))
        return ops.one_hot(ops.reshape(ops.cast(condition, "int32"), (-1,)), flow.num_classes, dtype=flow.dtype)
    if condition.shape[-1] != flow.condition_size:
        raise InputError(
            f"Got a condition of shape {tuple(condition.shape)}: this flow takes [batch, {flow.condition_size}]."
        )
    values = _backend.concrete(condition)
    if values is not None and not np.all(np.isfinite(values)):
        raise InputError("The condition holds NaN or infinite values: a flow takes finite numbers; remove those rows.")
    return ops.reshape(ops.cast(condition, flow.dtype), (-1, flow.condition_size))
