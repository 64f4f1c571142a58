"""What differs between Keras's TensorFlow and JAX backends: TFP, compilation, and values of traced arrays.

autodiff   derivatives that `keras.ops` does not offer
hosts      training on many hosts
noise      random numbers that are functions of a key, the same on both backends
startup    the import of Keras and its backend
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfflows._backend.startup import quiet_import
from tfflows.errors import TfflowsImportError

with quiet_import():
    import keras
    from keras import ops

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf
        import tensorflow_probability as tfp
    elif keras.backend.backend() == "jax":
        import jax
        from tensorflow_probability.substrates import jax as tfp
    else:
        raise TfflowsImportError(
            f"tfflows runs on Keras's 'tensorflow' and 'jax' backends and Keras uses {keras.backend.backend()!r}: "
            "set the environment variable KERAS_BACKEND to one of them before the first import of keras"
        )

    tfb, tfd = tfp.bijectors, tfp.distributions

# A tensor of the backend: tf.Tensor, jax.Array, or a tracer of one.
Tensor = Any
# A static shape; None stands for the size of the batch.
Shape = Sequence[int | None]


def flow_dtype() -> str:
    """Returns the dtype of densities: "float64" where Keras's dtype policy asks for it, else "float32".

    Half-precision policies apply to the conditioners alone.
    """
    return "float64" if keras.config.dtype_policy().variable_dtype == "float64" else "float32"


class DensityLayer(keras.layers.Layer):
    """A layer that computes in `flow_dtype`, whose inputs and weights no layer around it casts to half precision."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(autocast=False, **{"dtype": flow_dtype(), **kwargs})

    def add_weight(self, *args: Any, **kwargs: Any) -> keras.Variable:
        """Adds a weight, as Keras's `add_weight`."""
        return super().add_weight(*args, **{"autocast": False, **kwargs})


def compile_time_eval() -> contextlib.AbstractContextManager[None]:
    """Returns a context in which JAX evaluates expressions of constants at once, also while it traces a function."""
    return contextlib.nullcontext() if keras.backend.backend() == "tensorflow" else jax.ensure_compile_time_eval()


def jit(model: keras.Model | keras.layers.Layer, function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles `function(*args)` to one graph that reads the current weights of `model` at every call.

    On TensorFlow the graph is one for batches of every size: the function is traced once.

    Args:
        model: whose current weights are read.
        function: of tensors, a scalar or [B, ...] each, or tuples of such, or None.
    """
    if keras.backend.backend() == "tensorflow":
        # TensorFlow warns of retracing where many models compile the same method; a lambda is each one's own.
        graph = tf.function(lambda *args: function(*args), autograph=False)

        # Of `reduce_retracing` TensorFlow would trace for the first size, and for any with the second.
        def any_batch(x: Tensor | None) -> tf.TensorSpec | None:
            return x if x is None else tf.TensorSpec((None, *x.shape[1:]) if len(x.shape) else (), x.dtype)

        return lambda *args: graph.get_concrete_function(*tf.nest.map_structure(any_batch, args))(*args)

    # jax.jit would freeze the weights that it meets at the first call, so they are passed as arguments.
    def stateless(values: list[Tensor], *args: Tensor) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(model.variables, values, strict=True))):
            return function(*args)

    jitted = jax.jit(stateless)
    return lambda *args: jitted([variable.value for variable in model.variables], *args)


def matmul(a: Tensor, b: Tensor, transpose_b: bool = False) -> Tensor:
    """Returns the product of a [..., N] and b [N, M] in the full precision of their dtype, float32 or float64.

    With `transpose_b`, b is [M, N].

    By default GPUs (TensorFloat-32) and TPUs (bfloat16) round the operands of float32 products. In a network that does
    little harm; the product by which a flow maps x to z would no longer be undone by its inverse.
    """
    if keras.backend.backend() == "jax":
        return jax.numpy.matmul(a, b.T if transpose_b else b, precision="highest")
    a, b = tf.convert_to_tensor(a), tf.convert_to_tensor(b)
    if b.dtype == tf.float32 and rounds_products():
        product = tf.matmul(tf.cast(a, tf.float64), tf.cast(b, tf.float64), transpose_b=transpose_b)
        return tf.cast(product, tf.float32)
    return tf.matmul(a, b, transpose_b=transpose_b)


def erfc(x: Tensor) -> Tensor:
    """Returns 1 - erf(x), with all its digits where it is small."""
    return tf.math.erfc(x) if keras.backend.backend() == "tensorflow" else jax.scipy.special.erfc(x)


def rounds_products() -> bool:
    """Returns whether a device in use on TensorFlow rounds the operands of float32 products: a GPU or a TPU."""
    return any(device.device_type in ("GPU", "TPU") for device in tf.config.get_visible_devices())


def concrete(x: Any) -> np.ndarray | None:
    """Returns x as a NumPy array, or None where it is traced and has no value yet."""
    if keras.backend.backend() == "tensorflow" and not isinstance(x, np.ndarray):
        return x.numpy() if hasattr(x, "numpy") else None
    return np.asarray(x) if isinstance(x, np.ndarray) or not isinstance(x, jax.core.Tracer) else None


def untraced(variable: keras.Variable) -> np.ndarray:
    """Returns the value that a variable has outside of the function that is being traced, if one is."""
    with tf.init_scope() if keras.backend.backend() == "tensorflow" else keras.StatelessScope():
        return ops.convert_to_numpy(variable.value)


def compiled_size(size: int, largest: int) -> int:
    """Returns the size to which a batch is padded, at most `largest`, so that not every size is compiled anew.

    On JAX the next power of two; TensorFlow's graphs take a batch of any size.
    """
    if keras.backend.backend() == "tensorflow":
        return size
    return max(size, min(1 << (size - 1).bit_length(), largest))


def num_replicas() -> int:
    """Returns the number of devices that a training step is mirrored over; each sees its share of the batch."""
    if keras.backend.backend() == "tensorflow":
        return tf.distribute.get_strategy().num_replicas_in_sync
    return 1


def strategy_scope(model: keras.Model) -> contextlib.AbstractContextManager:
    """Returns the scope of the `tf.distribute` strategy that a model was built in; `fit` may be called outside."""
    if keras.backend.backend() == "tensorflow":
        return model.distribute_strategy.scope()
    return contextlib.nullcontext()


def uncached(x: Tensor) -> Tensor:
    """Returns x as a new object, for which TFP's bijector cache holds no result.

    TFP caches by input object and parameters, and a `tf.Variable` compares equal to itself whatever it holds: run
    eagerly, a bijector would return a value from before the last update of its weights, or one without a gradient.
    """
    return tf.identity(x) if keras.backend.backend() == "tensorflow" else x
