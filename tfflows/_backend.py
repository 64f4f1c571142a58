"""TensorFlow Probability for the backend that Keras runs on, and what Keras has no word for."""

import contextlib
import unittest.mock

import keras
import numpy as np

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    import tensorflow_probability as tfp
elif keras.backend.backend() == "jax":
    import jax
    from tensorflow_probability.substrates import jax as tfp
else:
    raise ImportError(
        f"tfflows runs on Keras's 'tensorflow' and 'jax' backends and Keras uses {keras.backend.backend()!r}: "
        "set the environment variable KERAS_BACKEND before the first import of keras."
    )

tfb, tfd = tfp.bijectors, tfp.distributions


def flow_dtype():
    """The dtype of densities: float32, or float64 where the user asked Keras for it. Never a half precision."""
    return "float64" if keras.config.dtype_policy().variable_dtype == "float64" else "float32"


@contextlib.contextmanager
def double_precision():
    """A context in which float64 arrays stay float64: JAX and, on JAX, Keras's operations make them float32."""
    if keras.backend.backend() == "tensorflow":
        yield
        return
    # Keras (3.15) has no setting for this on JAX, only the table by which its operations promote.
    table = keras.src.backend.common.dtypes.BIT64_TO_BIT32_DTYPE
    with jax.enable_x64(True), unittest.mock.patch.dict(table, float64="float64"):
        yield


def constants_now():
    """A context in which, inside a compiled function too, what depends on constants alone is computed at once."""
    return contextlib.nullcontext() if keras.backend.backend() == "tensorflow" else jax.ensure_compile_time_eval()


def compiled(model, function):
    """`function(*tensors)` as one compiled graph that reads the current weights of `model` at every call."""
    if keras.backend.backend() == "tensorflow":
        return tf.function(function, autograph=False, reduce_retracing=True)

    # jax.jit would freeze the weights that it meets at the first call, so they are passed as arguments.
    def stateless(values, *args):
        with keras.StatelessScope(state_mapping=list(zip(model.variables, values, strict=True))):
            return function(*args)

    jitted = jax.jit(stateless)
    return lambda *args: jitted([variable.value for variable in model.variables], *args)


@contextlib.contextmanager
def without_constant_folding():
    """A context in which TensorFlow's graph optimiser does not look for constants to fold.

    In the graph of a training step it finds next to none, in a time that grows faster than the graph: of the first step
    of 96 flow steps it takes a third (benchmarks/README.md).
    """
    if keras.backend.backend() != "tensorflow":
        yield
        return
    options = tf.config.optimizer
    before = options.get_experimental_options().get("constant_folding", True)
    options.set_experimental_options({"constant_folding": False})
    try:
        yield
    finally:
        options.set_experimental_options({"constant_folding": before})


def value(x):
    """A NumPy array of x, or None while a graph is traced and x has no value."""
    if keras.backend.backend() == "tensorflow" and not isinstance(x, np.ndarray):
        return x.numpy() if hasattr(x, "numpy") else None
    return np.asarray(x) if isinstance(x, np.ndarray) or not isinstance(x, jax.core.Tracer) else None


def num_replicas():
    """Devices that a Keras training step is mirrored over: each computes the loss of its share of the batch."""
    if keras.backend.backend() == "tensorflow":
        return tf.distribute.get_strategy().num_replicas_in_sync
    return 1


@contextlib.contextmanager
def apart():
    """A context in which a host computes by itself, with variables on its own device, in training with others too."""
    distribution = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)


def on_every_host(model, function, *batch):
    """`function(*batch)`, which assigns to variables of `model`, with equal results on all hosts.

    The arrays (or None) of `batch` are each host's share of one batch; the function gets the whole.
    """
    if keras.backend.backend() == "tensorflow" or jax.process_count() == 1:
        function(*batch)
        return
    from jax.experimental.multihost_utils import broadcast_one_to_all, process_allgather

    batch = [x if x is None else process_allgather(np.asarray(x), tiled=True) for x in batch]
    with apart():
        state = [(variable, jax.numpy.asarray(variable.numpy())) for variable in model.variables]
        with keras.StatelessScope(state_mapping=state) as scope:
            function(*batch)
        values = [np.asarray(scope.get_current_value(variable)) for variable in model.variables]
    # The first host's, since different machines may round differently.
    for variable, value in zip(model.variables, broadcast_one_to_all(values), strict=True):
        variable.assign(value)


def gradients(loss, weights):
    """The gradients of the scalar `loss()` for a list of Keras weights."""
    if keras.backend.backend() == "tensorflow":
        with tf.GradientTape() as tape:
            value = loss()
        return tape.gradient(value, [weight.value for weight in weights])

    def stateless(values):
        with keras.StatelessScope(state_mapping=list(zip(weights, values, strict=True))):
            return loss()

    return jax.jit(jax.grad(stateless))([weight.value for weight in weights])


def pull_back(function, inputs, cotangents):
    """The cotangents of `inputs`, a list of arrays, for those of the outputs of `function(*inputs)`.

    For integers among the inputs there is none: None on TensorFlow, an empty one on JAX.
    """
    if keras.backend.backend() == "jax":
        return jax.vjp(function, *inputs)[1](tuple(cotangents))
    real = [x for x in inputs if x.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(real)
        outputs = function(*inputs)
    found = iter(tape.gradient(outputs, real, list(cotangents)))
    return [next(found) if x.dtype.is_floating else None for x in inputs]


def with_gradient(function, gradient):
    """`function(*inputs) -> outputs`, tuples of arrays, with the gradient `gradient(inputs, outputs, cotangents)`."""
    if keras.backend.backend() == "tensorflow":

        @tf.custom_gradient
        def wrapped(*inputs):
            outputs = function(*inputs)
            return outputs, lambda *cotangents: gradient(inputs, outputs, cotangents)

        # As tensors: variables among the inputs would be taken for variables of the function, and may be assigned to.
        return lambda *inputs: wrapped(*map(tf.identity, inputs))

    def forward(*inputs):
        outputs = function(*inputs)
        return outputs, (inputs, outputs)

    wrapped = jax.custom_vjp(function)
    wrapped.defvjp(forward, lambda kept, cotangents: tuple(gradient(*kept, cotangents)))
    return wrapped


def adam_constants(step, learning_rate, beta_1, beta_2, epsilon):
    """What the updates of all weights in step number `step` (from 1) share: the arguments of TensorFlow's operation."""
    step = tf.cast(step, "float32")
    numbers = {
        "beta1_power": tf.pow(beta_1, step),
        "beta2_power": tf.pow(beta_2, step),
        "lr": learning_rate,
        "beta1": beta_1,
        "beta2": beta_2,
        "epsilon": epsilon,
    }
    return {name: tf.cast(number, "float32") for name, number in numbers.items()}


def adam_update(variable, momentum, velocity, gradient, constants):
    """Adam's update of three `tf.Variable`s, by the one operation that TensorFlow has."""
    if variable.dtype != tf.float32:
        constants = {name: tf.cast(number, variable.dtype) for name, number in constants.items()}
    gradient = tf.cast(tf.convert_to_tensor(gradient), variable.dtype)
    handles = {"var": variable.handle, "m": momentum.handle, "v": velocity.handle}
    tf.raw_ops.ResourceApplyAdam(**handles, **constants, grad=gradient)


def barrier(tensors):
    """The tensors, none of which is used before all of them are there; nothing is merged across it."""
    if keras.backend.backend() == "tensorflow":
        with tf.control_dependencies(tensors):
            return [tf.identity(tensor) for tensor in tensors]
    return jax.lax.optimization_barrier(tensors)


def batch_jacobian(function, x):
    """d function(x)[b] / d x[b] for each row b: [B, *output_shape, *x_shape]."""
    if keras.backend.backend() == "tensorflow":
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.batch_jacobian(y, x)
    # Not by a vmap over rows: a function of the whole batch may have something for each row, as a condition.
    jacobian = jax.jit(jax.jacrev(function))(x)  # [B, *output_shape, B, *x_shape]
    return jax.numpy.stack([rows.take(b, axis=rows.ndim - x.ndim) for b, rows in enumerate(jacobian)])


def fresh(x):
    """x as a new object, which TFP's cache has not seen.

    TFP remembers results for the same input object and equal parameters, and a `tf.Variable` equals itself whatever it
    holds: run eagerly, a bijector would return a value from before the last update, or one without a gradient.
    """
    return tf.identity(x) if keras.backend.backend() == "tensorflow" else x
