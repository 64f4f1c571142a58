"""`check_flow_layer`: does a flow layer keep the contract?"""

import contextlib
import tempfile
import unittest.mock
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from tfflows import _backend
from tfflows._backend import Shape, Tensor, autodiff
from tfflows.errors import InputTypeError, UnsupportedError
from tfflows.flow.flow import Flow
from tfflows.layers.base import FlowLayer, sum_event

TOLERANCE = 1e-8  # absolute, in float64: a relative one lets a log-det that is 10 % off pass


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """A context in which float64 arrays stay float64: JAX and, on JAX, Keras's operations make them float32."""
    if keras.backend.backend() == "tensorflow":
        yield
        return
    import jax

    # Keras (3.15) has no setting for this on JAX, only the table by which its operations choose dtypes.
    table = keras.src.backend.common.dtypes.BIT64_TO_BIT32_DTYPE
    with jax.enable_x64(True), unittest.mock.patch.dict(table, float64="float64"):
        yield


def check_flow_layer(
    make_layer: Callable[[], FlowLayer],
    event_shape: Shape,
    condition_size: int = 0,
    scale: float = 0.3,
    seed: int = 0,
    draw_latents: Callable[..., np.ndarray] = np.random.Generator.normal,
) -> None:
    """Checks that a layer keeps the contract of `FlowLayer`.

    Everything is done in float64, in evaluation mode, with every weight replaced by random numbers, since the zeros
    that last layers start with hide faults: round trip in both directions; both log-dets against the determinant of
    the Jacobian by automatic differentiation, with absolute tolerance 1e-8; log-dets of shape [B], also for B = 1; the
    same in a compiled function of unknown batch size; a gradient of the density for every trainable weight; the same
    numbers from the layer that is saved in a file and loaded.

    Args:
        make_layer: a function without arguments that returns a new, unbuilt layer; its class will do.
        event_shape: the shape of one x, without the batch.
        condition_size: channels of the condition.
        scale: of the random weights.
        seed: of weights and data.
        draw_latents: called as `draw_latents(rng, size=shape)`, returns latents of that shape; for layers that are not
            defined for all real numbers.

    Raises:
        AssertionError: the layer breaks the contract; one sentence says how.
        InputTypeError: an argument has a wrong type.
    """
    if isinstance(make_layer, keras.layers.Layer) or not callable(make_layer):
        raise InputTypeError(
            f"check_flow_layer got {make_layer!r} and takes a function that makes a layer: pass the layer's class, or "
            "`lambda: Layer(...)`."
        )
    if not np.iterable(event_shape):
        raise InputTypeError(
            f"check_flow_layer got event_shape={event_shape!r}: give the shape of one x without the batch, for example "
            "(4,) for vectors of 4 numbers."
        )
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        with double_precision():
            layer = make_layer()
            if not isinstance(layer, FlowLayer):
                raise InputTypeError(
                    f"check_flow_layer called make_layer() and got {layer!r}: it must return a layer of a class that "
                    "inherits from tfflows.layers.FlowLayer."
                )
            _check(layer, tuple(event_shape), condition_size, scale, np.random.default_rng(seed), draw_latents)
    finally:
        keras.config.set_dtype_policy(policy)


def _check(
    layer: FlowLayer,
    event_shape: tuple[int, ...],
    condition_size: int,
    scale: float,
    rng: np.random.Generator,
    draw_latents: Callable[..., np.ndarray],
) -> None:
    name = keras.saving.get_registered_name(type(layer))
    _require(
        keras.saving.get_registered_object(name) is type(layer),
        f"{type(layer).__name__} is not registered with Keras, which could save it and not load it again: put "
        "@keras.saving.register_keras_serializable() above the class",
    )
    layer.build((None, *event_shape))
    for weight in layer.weights:
        if "float" in weight.dtype:
            weight.assign(scale * rng.normal(size=weight.shape))
    for each in layer._flatten_layers():
        if isinstance(each, keras.layers.BatchNormalization):  # of a network: its variance must stay positive
            each.moving_variance.assign(np.exp(each.moving_variance))
    latent_shape = tuple(layer.latent_shape(event_shape))
    size = int(np.prod(event_shape))
    _require(int(np.prod(latent_shape)) == size, f"latent_shape {latent_shape} has another size than {event_shape}")

    conditions = rng.normal(size=(3, condition_size))

    def condition(rows: slice | np.ndarray) -> list[Tensor]:
        return [ops.convert_to_tensor(conditions[rows])] if condition_size else []

    def run(direction: str, value: Tensor, rows: slice | np.ndarray = np.s_[:]) -> tuple[Tensor, Tensor]:
        return _pair(direction, value, getattr(layer, f"{direction}_and_log_det")(value, *condition(rows)))

    # x is a sample, so that it is in the range of the layer, whatever that is.
    z = ops.convert_to_tensor(draw_latents(rng, size=(3, *latent_shape)))
    x, forward_log_det = run("forward", z)
    _require(tuple(x.shape) == (3, *event_shape), f"forward gives shape {tuple(x.shape)} for events {event_shape}")
    back, inverse_log_det = run("inverse", x)
    _close(back, z, "inverse(forward(z)) differs from z")

    copies = np.repeat(np.arange(3), size + 1)
    for direction, value, want, log_det, weights in (
        ("forward", back, x, forward_log_det, []),
        ("inverse", x, z, inverse_log_det, layer.trainable_weights),
    ):
        # Each row once for each element of its result, which makes a row of the Jacobian, and once for the weights.
        cotangents = np.tile(np.eye(size + 1, size), (3, 1, 1))
        cotangents[:, size] = rng.normal(size=(3, size))  # for each element another, so that no two cancel
        (got, got_log_det), gradients, jacobian = autodiff.outputs_and_vjp(
            lambda repeated, direction=direction: run(direction, repeated, copies),
            weights,
            ops.convert_to_tensor(ops.convert_to_numpy(value)[copies]),
            [
                ops.convert_to_tensor(cotangents.reshape(-1, *want.shape[1:])),
                ops.convert_to_tensor(np.tile(np.eye(size + 1)[size], 3)),
            ],
        )
        got, got_log_det = (ops.convert_to_numpy(each)[size :: size + 1] for each in (got, got_log_det))
        jacobian = ops.convert_to_numpy(jacobian).reshape(3, size + 1, size)[:, :size]
        if direction == "forward":
            _close(got, want, "forward(inverse(x)) differs from x")
        _close(log_det, np.linalg.slogdet(jacobian)[1], f"{direction}'s log-det differs from autodiff's")
        _close(got, want, f"{direction} differs where it is differentiated")
        _close(got_log_det, log_det, f"{direction} has another log-det where it is differentiated")
        for weight, gradient in zip(weights, gradients, strict=True):
            alive = gradient is not None and np.any(ops.convert_to_numpy(gradient) != 0)
            _require(alive, f"weight {weight.path} gets no gradient from the density")
    _check_local(layer, x, condition(np.s_[:]), z, inverse_log_det)

    graph = _backend.jit(layer, layer.inverse_and_log_det)
    cases = [("the compiled inverse", graph, 1)]
    if keras.backend.backend() == "tensorflow":  # whose graph does not know the batch; JAX has compiled for 3 above
        cases += [("the compiled inverse", graph, 3), ("the inverse", layer.inverse_and_log_det, 1)]
    for what, function, batch in cases:
        got_z, got_log_det = function(x[:batch], *condition(np.s_[:batch]))
        shape = tuple(ops.shape(got_log_det))
        _require(shape == (batch,), f"{what} of a batch of {batch} gives a log-det of shape {shape}")
        _close(got_z, z[:batch], f"{what} of a batch of {batch} differs from the same rows of a batch of 3")
        _close(got_log_det, inverse_log_det[:batch], f"{what} of a batch of {batch} has another log-det")

    _check_saving(
        layer,
        event_shape,
        condition_size,
        lambda other: other.inverse_and_log_det(x, *condition(np.s_[:])),
        (z, inverse_log_det),
    )


def _check_local(layer: FlowLayer, x: Tensor, condition: list[Tensor], z: Tensor, log_det: Tensor) -> None:
    """Checks the log-determinants of single elements, where the layer has them."""
    with contextlib.suppress(UnsupportedError):
        local_z, local = layer.inverse_and_local_log_det(x, *condition)
        _close(local_z, z, "inverse_and_local_log_det gives another z")
        _require(tuple(local.shape) == tuple(x.shape), f"local log-dets have shape {tuple(local.shape)}")
        _close(sum_event(local), log_det, "the local log-dets do not add up to the log-det")
        located = layer.locate(z)
        _require(tuple(located.shape) == tuple(x.shape), f"locate gives shape {tuple(located.shape)}")
        _close(sum_event(located), sum_event(z), "locate changes the sum of its values")


def _pair(direction: str, value: Tensor, returned: Any) -> tuple[Tensor, Tensor]:
    """Returns what a layer returned for a value, if it is two tensors, with one log-det for each row."""
    names = ("x", "log_det") if direction == "forward" else ("z", "log_det")
    direction = f"{direction}_and_log_det"
    _require(
        isinstance(returned, tuple) and len(returned) == 2,
        f"{direction} returns {_kind(returned)}: need the tuple ({', '.join(names)})",
    )
    for name, each in zip(names, returned, strict=True):
        _require(
            ops.is_tensor(each),
            f"{direction} returns {_kind(each)} as {name}: need a tensor, by keras.ops in place of NumPy",
        )
    got, batch = tuple(returned[1].shape), value.shape[0]
    _require(got == (batch,), f"{direction} returns a log-det of shape {got} for a batch of {batch}: need ({batch},)")
    return returned


def _kind(value: Any) -> str:
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return "a NumPy array" if isinstance(value, np.ndarray | np.generic) else f"a value of type {type(value).__name__}"


def _check_saving(
    layer: FlowLayer,
    event_shape: tuple[int, ...],
    condition_size: int,
    evaluate: Callable[[FlowLayer], tuple[Tensor, Tensor]],
    expected: Sequence[Tensor],
) -> None:
    flow = Flow(layer, event_shape, dequantizer=None, condition_size=condition_size or None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flow.keras"
        flow.save(path)
        try:
            loaded = keras.saving.load_model(path, safe_mode=True)
        except (TypeError, ValueError) as error:
            lines = str(error).rpartition("Exception encountered: ")[2].strip().splitlines()
            raise AssertionError(f"check_flow_layer: the saved layer cannot be loaded: {lines[0]}") from error
    for got, want in zip(evaluate(loaded.transform), expected, strict=True):
        _close(got, want, "the layer differs after it was saved and loaded (get_config, build or weights)")


def _close(got: Tensor, want: Tensor, sentence: str) -> None:
    got, want = (ops.convert_to_numpy(value) for value in (got, want))
    error = np.max(np.abs(got - want)) if got.shape == want.shape else np.inf
    _require(
        error <= TOLERANCE,
        f"{sentence}: by {error:.3g} (shapes {got.shape} and {want.shape}), tolerance {TOLERANCE}",
    )


def _require(true: bool, sentence: str) -> None:
    if not true:
        raise AssertionError(f"check_flow_layer: {sentence}.")
