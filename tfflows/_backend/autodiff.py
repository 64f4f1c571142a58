"""Derivatives that `keras.ops` does not offer, on TensorFlow and on JAX."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from tfflows._backend import Tensor

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
else:
    import jax


def gradients(loss: Callable[[], Tensor], weights: Sequence[keras.Variable]) -> list[Tensor | None]:
    """Returns the gradients of the scalar `loss()` for a list of Keras weights; None where it does not depend on one.

    On JAX such a gradient is zero instead of None.
    """
    if keras.backend.backend() == "tensorflow":
        with tf.GradientTape() as tape:
            value = loss()
        return tape.gradient(value, [weight.value for weight in weights])

    def stateless(values: list[Tensor]) -> Tensor:
        with keras.StatelessScope(state_mapping=list(zip(weights, values, strict=True))):
            return loss()

    return jax.jit(jax.grad(stateless))([weight.value for weight in weights])


def outputs_and_vjp(
    function: Callable[[Tensor], tuple[Tensor, ...]],
    weights: Sequence[keras.Variable],
    x: Tensor,
    cotangents: Sequence[Tensor],
) -> tuple[tuple[Tensor, ...], list[Tensor | None], Tensor]:
    """Returns `function(x)`, a tuple, and the cotangents of the weights and of x for those of the tuple.

    On JAX all of it is one compiled program. A weight that has no part in it has None there on TensorFlow, on JAX 0.
    """
    if keras.backend.backend() == "tensorflow":
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = function(x)
        *found, of_x = tape.gradient(outputs, [*(weight.value for weight in weights), x], list(cotangents))
        return outputs, found, of_x

    def stateless(values: list[Tensor], x: Tensor) -> tuple[Tensor, ...]:
        with keras.StatelessScope(state_mapping=list(zip(weights, values, strict=True))):
            return function(x)

    def program(values: list[Tensor], x: Tensor, cotangents: tuple[Tensor, ...]) -> Any:
        outputs, pull = jax.vjp(stateless, values, x)
        return outputs, *pull(cotangents)

    return jax.jit(program)([weight.value for weight in weights], x, tuple(cotangents))


def vjp(
    function: Callable[..., tuple[Tensor, ...]], inputs: Sequence[Tensor], cotangents: Sequence[Tensor]
) -> Sequence[Tensor | None]:
    """Returns the vector-Jacobian product: cotangents of `inputs` for those of the outputs of `function(*inputs)`.

    Integer inputs have none: None on TensorFlow, an empty array on JAX.
    """
    if keras.backend.backend() == "jax":
        return jax.vjp(function, *inputs)[1](tuple(cotangents))
    real = [x for x in inputs if x.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(real)
        outputs = function(*inputs)
    found = iter(tape.gradient(outputs, real, list(cotangents)))
    return [next(found) if x.dtype.is_floating else None for x in inputs]


def custom_gradient(
    function: Callable[..., tuple[Tensor, ...]], gradient: Callable[..., Sequence[Tensor | None]]
) -> Callable[..., tuple[Tensor, ...]]:
    """Returns `function(*inputs) -> outputs`, tuples of tensors, differentiated by a function of one's own.

    Args:
        function: a pure function of tensors that returns a tuple of tensors.
        gradient: `gradient(inputs, outputs, cotangents)`, which returns the cotangents of the inputs.
    """
    if keras.backend.backend() == "tensorflow":

        @tf.custom_gradient
        def wrapped(*inputs: Tensor) -> Any:
            outputs = function(*inputs)
            return outputs, lambda *cotangents: gradient(inputs, outputs, cotangents)

        # As tensors: variables among the inputs would be taken for variables of the function, and may be assigned to.
        return lambda *inputs: wrapped(*map(tf.identity, inputs))

    def forward(*inputs: Tensor) -> Any:
        outputs = function(*inputs)
        return outputs, (inputs, outputs)

    wrapped = jax.custom_vjp(function)
    wrapped.defvjp(forward, lambda residuals, cotangents: tuple(gradient(*residuals, cotangents)))
    return wrapped


def product(x: Tensor, kernel: Tensor) -> Tensor:
    """Returns x @ kernel for x [B, n] and kernel [n, m], differentiated in half of the time where B is small.

    TensorFlow's own gradient of x, g @ kernel^T, takes a processor twice as long as (kernel @ g^T)^T.
    """
    if keras.backend.backend() == "jax":
        return jax.numpy.matmul(x, kernel)

    def gradient(inputs: Sequence[Tensor], _: Sequence[Tensor], cotangents: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        (x, kernel), (g,) = inputs, cotangents
        return tf.transpose(tf.matmul(kernel, g, transpose_b=True)), tf.matmul(x, g, transpose_a=True)

    return custom_gradient(lambda x, kernel: (tf.matmul(x, kernel),), gradient)(x, kernel)[0]


def optimization_barrier(tensors: list[Tensor]) -> list[Tensor]:
    """Returns the tensors, none of which is available before all are; the compiler merges nothing across it."""
    if keras.backend.backend() == "tensorflow":
        with tf.control_dependencies(tensors):
            return [tf.identity(tensor) for tensor in tensors]
    return jax.lax.optimization_barrier(tensors)
