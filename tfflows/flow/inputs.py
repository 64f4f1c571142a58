"""What the methods of a flow accept, and the one sentence for what they do not; `batches` has the data of `fit`."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from tfflows import _backend
from tfflows._backend import Tensor
from tfflows.errors import InputError, InputTypeError
from tfflows.layers.base import FlowLayer

IMAGES = "The images have values from {} to {}: this flow takes integers from 0 to {}, as its data set stores them."
LABELS = "The labels are from {} to {}: this flow takes labels from 0 to {}, its num_classes less one."
# The methods that take the condition as an argument, not only as a key of the data.
TAKE_CONDITION = ("log_prob", "bits_per_dim", "encode", "interpolate", "sample", "decode", "as_distribution")


def check_flow(flow: Any) -> None:
    """Raises InputError or InputTypeError for arguments of `Flow` that are wrong or do not go together."""
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


def check(
    flow: Any, method: str, x: Any, condition: Any = None, *, dequantize: bool = True
) -> tuple[Tensor, Tensor | None]:
    """Checks what a method takes and returns it as tensors.

    Args:
        flow: whose method it is.
        method: the name of the method, for messages.
        x: an array [B, *event_shape], or a dict with `image` and, for a conditional flow, `label` or `condition`.
        condition: labels or vectors, which have precedence over those in a dict.
        dequantize: whether x is integer images, where the flow has a dequantizer.

    Returns:
        x [B, *event_shape], and the condition [B, N] or None.

    Raises:
        InputError: a wrong shape or range.
        InputTypeError: a wrong dtype.
    """
    if isinstance(x, dict):
        x, given = unpack(flow, x)
        condition = given if condition is None and is_conditional(flow) else condition
    if not ops.is_tensor(x):
        x = np.asarray(x)
    integers = dequantize and flow.dequantizer is not None
    check_array(flow, method, x, integers)
    values = _backend.concrete(x)
    if values is not None:
        if not values.size:
            raise InputError(f"{method} got an empty batch: give at least one image.")
        if integers and (values.min() < 0 or values.max() >= flow.num_values):
            raise InputError(IMAGES.format(values.min(), values.max(), flow.num_values - 1))
        if not integers and not np.all(np.isfinite(values)):
            raise InputError(f"{method} got NaN or infinite values: a flow takes finite numbers; remove those rows.")
    x = ops.convert_to_tensor(x, dtype=None if integers else flow.dtype)
    return x, check_condition(flow, condition, x.shape[0], method)


def check_condition(flow: Any, condition: Any, n: int | None, method: str = "sample") -> Tensor | None:
    """Returns the condition [n, N] from a label or vector for all, or one for each; None where not conditional."""
    if not is_conditional(flow):
        if condition is not None:
            raise InputError("This flow is not conditional and got a condition: leave `condition` out.")
        return None
    condition = encode_condition(flow, method, condition)
    if n is not None and condition.shape[0] == 1 and n != 1:
        condition = ops.broadcast_to(condition, (n, condition.shape[1]))
    if n is not None and condition.shape[0] not in (None, n):
        raise InputError(
            f"{method} got {condition.shape[0]} conditions for {n} rows: give one for all or one for each."
        )
    return condition


def encode_condition(flow: Any, method: str, condition: Any) -> Tensor:
    """Returns labels as their one-hot code [B, num_classes], vectors as [B, condition_size]."""
    if condition is None:
        raise InputError(f"This flow is conditional and {method} got no condition: {_remedy(flow, method)}.")
    if not ops.is_tensor(condition):
        condition = np.asarray(condition)
    values = _backend.concrete(condition)
    if flow.num_classes is not None:
        if values is not None:
            if values.dtype.kind not in "iu":
                raise InputTypeError(f"{method} got labels of dtype {values.dtype}: they must be integers.")
            if values.size and (values.min() < 0 or values.max() >= flow.num_classes):
                raise InputError(LABELS.format(values.min(), values.max(), flow.num_classes - 1))
        return ops.one_hot(ops.reshape(ops.cast(condition, "int32"), (-1,)), flow.num_classes, dtype=flow.dtype)
    if len(condition.shape) == 0 or condition.shape[-1] != flow.condition_size:
        raise InputError(
            f"{method} got a condition of shape {tuple(condition.shape)}: this flow takes [batch, "
            f"{flow.condition_size}]."
        )
    if values is not None and not np.all(np.isfinite(values)):
        raise InputError(f"{method} got a condition with NaN or infinite values: give finite numbers.")
    return ops.reshape(ops.cast(condition, flow.dtype), (-1, flow.condition_size))


def _remedy(flow: Any, method: str) -> str:
    key = "label" if flow.num_classes else "condition"
    values = f"0 to {flow.num_classes - 1}" if flow.num_classes else f"[batch, {flow.condition_size}]"
    data = f"dicts with 'image' and '{key}' ({values})"
    if method not in TAKE_CONDITION:
        return f"give it {data}"
    argument = f"pass a {key} ({values}) as `condition`"
    return argument if method in TAKE_CONDITION[4:] else f"{argument}, or {data}"


def check_latent(flow: Any, z: Any) -> Tensor:
    """Returns z [B, *latent_shape] as a tensor."""
    z = z if ops.is_tensor(z) else np.asarray(z)
    if tuple(z.shape[1:]) != tuple(flow.latent_shape):
        expected = ("batch", *flow.latent_shape)
        raise InputError(f"decode got z of shape {tuple(z.shape)}: this flow takes {expected}, as encode returns it.")
    values = _backend.concrete(z)
    if values is not None and not (values.dtype.kind in "fiu" and np.all(np.isfinite(values))):
        raise InputError("decode got z with NaN, infinite or no numbers: give finite numbers, as encode returns them.")
    return ops.convert_to_tensor(z, dtype=flow.dtype)


def check_sampling(flow: Any, n: Any, temperature: Any, seed: Any) -> None:
    """Raises InputError or InputTypeError for arguments of `sample` that are out of their range."""
    check_count("sample", n=n)
    largest = largest_batch(flow)
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


def largest_batch(flow: Any) -> int:
    """Returns how many x one tensor may hold: kernels count elements in int32."""
    return 2**31 // math.prod(flow.event_shape)


def check_count(method: str, **counts: Any) -> None:
    """Raises InputError unless each is an integer of at least 1."""
    for name, value in counts.items():
        if not _is_integer(value) or value < 1:
            raise InputError(f"{method} got {name}={value!r}: it must be an integer of at least 1.")


def check_seed(method: str, seed: Any) -> None:
    """Raises unless `seed` is an integer from 0 that int32, the type in SavedModels, holds."""
    if not _is_integer(seed):
        raise InputTypeError(f"{method} got seed={seed!r}: it must be an integer from 0 to {2**31 - 1}.")
    if not 0 <= seed < 2**31:
        raise InputError(f"{method} got seed={seed}: it must be from 0 to {2**31 - 1}.")


def check_array(flow: Any, method: str, x: Any, integers: bool) -> None:
    """Raises unless x, which may be traced or a `tf.TensorSpec`, has the flow's shape and kind of numbers."""
    if isinstance(x, np.ndarray) and x.dtype.kind not in "fiub":
        raise InputTypeError(f"{method} got an array of {x.dtype}: a flow takes an array of numbers.")
    if getattr(x.shape, "rank", 0) is None:
        expected = ", ".join(map(str, ("None", *flow.event_shape)))
        raise InputError(
            f"{method} got data whose shape tf.data does not know: map them through "
            f"tf.ensure_shape(image, [{expected}])."
        )
    if len(x.shape) == 0 or tuple(x.shape[1:]) != flow.event_shape:
        expected = ", ".join(map(str, ("batch", *flow.event_shape)))
        raise InputError(
            f"{method} got an array of shape {tuple(x.shape)}: this flow takes [{expected}]{_reshaped(flow, x)}."
        )
    kind = keras.backend.standardize_dtype(x.dtype)
    if flow.dequantizer is not None and not integers and "int" in kind:
        raise InputTypeError(
            f"{method} got {kind} images with dequantize=False: the density of real-valued x takes floats; leave "
            "dequantize out for images."
        )
    if integers and "int" not in kind:
        real = "; for the density of real-valued x use dequantize=False" if method == "log_prob" else ""
        raise InputTypeError(
            f"{method} got {kind} images: this flow dequantizes and takes integers from 0 to {flow.num_values - 1} "
            f"(uint8 as tfds stores them); {_as_integers(flow, x)}{real}."
        )


def _reshaped(flow: Any, x: Any) -> str:
    """Returns what to do about x of a wrong shape, where it can be told."""
    shape, event = tuple(x.shape), flow.event_shape
    if len(shape) == len(event):
        if shape == event:
            return "; give one image as x[None], and batch a data set"
        if event[-1] == 1 and shape[1:] == event[:-1]:
            return "; give x[..., None]"
    if len(event) == 3 and shape[1:] == (event[2], event[0], event[1]):
        return "; the channels come first here: give np.moveaxis(x, 1, -1)"
    return ""


def _as_integers(flow: Any, x: Any) -> str:
    """Returns how floats x become the integer images that they were, by their range where it is known."""
    top, dtype = flow.num_values - 1, "uint8" if flow.num_values <= 256 else "int32"
    scaled = f'(x * {top}).round().astype("{dtype}")'
    values = _backend.concrete(x) if isinstance(x, np.ndarray) or ops.is_tensor(x) else None
    if values is None or not values.size:
        return f"where they were scaled to [0, 1], give {scaled}"
    low, high = values.min(), values.max()
    if low >= 0 and high <= 1:
        return f"these are scaled to [0, 1]: give {scaled}"
    if low >= -1 and high <= 1:
        return f'these are scaled to [-1, 1]: give ((x + 1) * {top / 2}).round().astype("{dtype}")'
    if low >= 0 and high <= top and np.all(values == np.round(values)):
        return f'give x.astype("{dtype}")'
    return f"these are from {low:.6g} to {high:.6g}: give the images as they are stored"


def unpack(flow: Any, batch: dict) -> tuple[Any, Any]:
    """Returns the image and the condition (or None) of a dict."""
    if "image" not in batch:
        raise InputError(f"A flow reads the key 'image' of a dict and this one has {sorted(batch)}: rename its array.")
    return batch["image"], batch.get("condition" if flow.condition_size else "label")


def is_conditional(flow: Any) -> bool:
    """Returns whether the flow reads a label or a vector."""
    return flow.num_classes is not None or flow.condition_size is not None


def is_tensor(given: Any) -> bool:
    """Returns whether x, or the image of a dict, is a tensor of the backend."""
    return ops.is_tensor(given.get("image") if isinstance(given, dict) else given)


def as_given(result: Tensor, given: Any) -> np.ndarray | Tensor:
    """Returns a tensor where a tensor was given, or while a function is traced; else a NumPy array."""
    if is_tensor(given) or _backend.concrete(result) is None:
        return result
    return ops.convert_to_numpy(result)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
