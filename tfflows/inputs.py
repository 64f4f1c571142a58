"""What may be given to a flow, and the one sentence for what may not."""

import keras
import numpy as np
from keras import ops

from tfflows import _backend

INITIAL_BATCH = 256  # images of an array that data-dependent initialisation looks at


def split(flow, batch):
    """(x, condition) of a batch as `fit` gets it: x alone or a dict with `image` and `label` or `condition`."""
    if isinstance(batch, (tuple, list)):
        batch = batch[0]
    if isinstance(batch, dict):
        if "image" not in batch:
            raise ValueError(f"A flow reads the key 'image' of a dict and this one has {sorted(batch)}.")
        x, condition = batch["image"], batch.get("condition" if flow.condition_size else "label")
    else:
        x, condition = batch, None
    _check_x(flow, x, flow.dequantizer is not None)
    if not _is_conditional(flow):
        return x, None
    return x, _as_condition(flow, condition)


def check(flow, x, condition=None, dequantize=True):
    """(x, condition) as tensors, for the methods that take them apart from `fit`'s data."""
    if isinstance(x, dict):
        if "image" not in x:
            raise ValueError(f"A flow reads the key 'image' of a dict and this one has {sorted(x)}.")
        x, given = x["image"], x.get("condition" if flow.condition_size else "label")
        condition = given if condition is None and _is_conditional(flow) else condition
    if not ops.is_tensor(x):
        x = np.asarray(x)
    integers = dequantize and flow.dequantizer is not None
    _check_x(flow, x, integers)
    values = _backend.value(x)
    if values is not None and values.size:
        if integers and (values.min() < 0 or values.max() >= flow.num_values):
            raise ValueError(
                f"The images have values from {values.min()} to {values.max()}: this flow takes integers from 0 to "
                f"{flow.num_values - 1}, as its data set stores them."
            )
        if not integers and not np.all(np.isfinite(values)):
            raise ValueError("x holds NaN or infinite values: a flow takes finite numbers; remove those rows.")
    x = ops.convert_to_tensor(x, dtype=None if integers else flow.dtype)
    return x, check_condition(flow, condition, x.shape[0])


def check_condition(flow, condition, n):
    """The condition [n, N] as a tensor from a label or vector for all, or one for each; None where not conditional."""
    if not _is_conditional(flow):
        if condition is not None:
            raise ValueError("This flow is not conditional and got a condition: leave `condition` out.")
        return None
    condition = _as_condition(flow, condition)
    if n is not None and condition.shape[0] == 1 and n != 1:
        condition = ops.broadcast_to(condition, (n, condition.shape[1]))
    if n is not None and condition.shape[0] not in (None, n):
        raise ValueError(f"Got {condition.shape[0]} conditions for {n} images: give one for all, or one for each.")
    return condition


def check_latent(flow, z):
    """z [B, *latent_shape] as a tensor."""
    z = z if ops.is_tensor(z) else np.asarray(z)
    if tuple(z.shape[1:]) != tuple(flow.latent_shape):
        expected = ("batch", *flow.latent_shape)
        raise ValueError(f"decode got z of shape {tuple(z.shape)}: this flow takes {expected}, as encode returns it.")
    return ops.convert_to_tensor(z, dtype=flow.dtype)


def check_sampling(n, temperature, seed):
    """ValueError or TypeError for arguments of `sample` out of their range."""
    if not isinstance(n, (int, np.integer)) or n < 1:
        raise ValueError(f"sample got n={n!r}: it must be a positive integer.")
    temperature = np.asarray(temperature)
    if temperature.shape not in ((), (n,)) or not np.all((temperature >= 0) & np.isfinite(temperature)):
        raise ValueError(f"sample got temperature={temperature!r}: it must be at least 0, one number or {n} of them.")
    if seed is not None and not isinstance(seed, (int, np.integer)):
        raise TypeError(f"sample got seed={seed!r}: it must be an integer, or None for new samples at each call.")


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
        if not isinstance(spec, tuple):
            return data.map(select)
        if len(spec) == 2:
            _refuse_y(flow)
            return data.map(lambda x, y: select(x))
        return data.map(lambda x, y, weight: (select(x), y, weight))
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
    """One batch of whatever `fit` accepts: an array's first images, or a data set's first batch."""
    if isinstance(data, dict):
        return {key: value[:INITIAL_BATCH] for key, value in data.items()}
    if isinstance(data, np.ndarray) or ops.is_tensor(data):
        return data[:INITIAL_BATCH]
    if isinstance(data, keras.utils.PyDataset):
        return data[0]
    if hasattr(data, "take"):
        for batch in data.take(1):
            return _numpy(batch)
        raise ValueError(
            "The data set is empty: a flow with data-dependent layers is initialised from its first batch."
        )
    raise ValueError(
        f"A flow with data-dependent layers cannot be initialised from a {type(data).__name__}, which can be read only "
        "once: call adapt(batch) with one batch before fit."
    )


def _numpy(batch):
    if isinstance(batch, (tuple, list)):
        return _numpy(batch[0])
    if isinstance(batch, dict):
        return {key: _numpy(value) for key, value in batch.items()}
    return np.asarray(batch)


def _to_array(x):
    return x if ops.is_tensor(x) else np.asarray(x)


def _is_conditional(flow):
    return flow.num_classes is not None or flow.condition_size is not None


def _refuse_y(flow):
    if _is_conditional(flow):
        raise ValueError(
            "This flow is conditional and got (x, y): give it dicts with the keys 'image' and "
            f"'{'condition' if flow.condition_size else 'label'}' instead, as tfds.load does without as_supervised."
        )


def _check_x(flow, x, integers):
    kind = keras.backend.standardize_dtype(x.dtype)
    if tuple(x.shape[1:]) != flow.event_shape:
        expected = ", ".join(map(str, ("batch", *flow.event_shape)))
        raise ValueError(f"Got an array of shape {tuple(x.shape)}: this flow takes [{expected}].")
    if flow.dequantizer is not None and not integers and "int" in kind:
        raise TypeError(
            f"Got {kind} images with dequantize=False: the density of real-valued x takes floats; leave dequantize out "
            "for images."
        )
    if integers and "int" not in kind:
        raise TypeError(
            f"Got {kind} images: this flow dequantizes and takes integers from 0 to {flow.num_values - 1} (uint8 as "
            "tfds stores them), without any scaling; for the density of real-valued x use dequantize=False."
        )


def _as_condition(flow, condition):
    if condition is None:
        name = f"'label' (0 to {flow.num_classes - 1})" if flow.num_classes else f"'condition' [{flow.condition_size}]"
        raise ValueError(
            "This flow is conditional and got no condition: pass `condition`, or data as dicts with 'image' and "
            f"{name}."
        )
    if not ops.is_tensor(condition):
        condition = np.asarray(condition)
    if flow.num_classes is not None:
        values = _backend.value(condition)
        if values is not None:
            if values.dtype.kind not in "iu":
                raise TypeError(f"Got labels of dtype {values.dtype}: they must be integers.")
            if values.size and (values.min() < 0 or values.max() >= flow.num_classes):
                raise ValueError(
                    f"Got labels from {values.min()} to {values.max()}: they must be 0 to {flow.num_classes - 1}."
                )
        return ops.one_hot(ops.reshape(ops.cast(condition, "int32"), (-1,)), flow.num_classes, dtype=flow.dtype)
    if condition.shape[-1] != flow.condition_size:
        raise ValueError(
            f"Got a condition of shape {tuple(condition.shape)}: this flow takes [batch, {flow.condition_size}]."
        )
    return ops.reshape(ops.cast(condition, flow.dtype), (-1, flow.condition_size))
