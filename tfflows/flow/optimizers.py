"""Adam and AdamW with one TensorFlow operation for each weight; with Adamax, they clip the gradient of all replicas."""

import types
from typing import Any

import keras
from keras import ops

from tfflows._backend import Tensor


class _ClippedAsOne:
    """A mixin that clips the gradient of the whole batch: Keras clips that of each of TensorFlow's replicas alone."""

    def _clip_gradients(self, grads: list[Tensor]) -> list[Tensor]:
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            context = tf.distribute.get_replica_context()
            if context is not None and context.num_replicas_in_sync > 1:
                grads = context.all_reduce(tf.distribute.ReduceOp.SUM, grads)
        return super()._clip_gradients(grads)

    def _all_reduce_sum_gradients(self, grads_and_vars: list[Any]) -> list[Any]:
        return grads_and_vars  # the sum is what was clipped


class _OneOperation(_ClippedAsOne):
    """A mixin that updates a weight by the one operation that TensorFlow has for Adam, where Keras takes about 30.

    A flow has many small weights (Glow twelve in each step): Keras's operations were 40 % of its training step's graph.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # What the updates of all weights share within a step; in a namespace, since Keras tracks lists and dicts.
        self._step = types.SimpleNamespace(constants=None)

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Updates the weights, as Keras's `apply`."""
        self._step.constants = None
        super().apply(grads, trainable_variables)
        self._step.constants = None  # tensors of a graph must not outlive it

    def update_step(self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor) -> None:
        """Updates one weight, as Keras's `update_step`."""
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        if self._step.constants is None:
            numbers = learning_rate, self.beta_1, self.beta_2, self.epsilon
            self._step.constants = _adam_constants(self.iterations + 1, *numbers)
        index = self._get_variable_index(variable)
        moments = self._momentums[index].value, self._velocities[index].value
        _adam_update(variable, *moments, gradient, self._step.constants)

    def _update_model_variables_moving_average(self, trainable_variables: list[keras.Variable]) -> None:
        """Updates the moving averages as Keras does, with one momentum for all weights: 9 operations fewer for each."""
        if not self.use_ema:
            return
        keep = ops.where(self.iterations == 0, 0.0, self.ema_momentum)  # the first average is the weight
        factors = keep, 1 - keep
        for variable, average in zip(trainable_variables, self._model_variables_moving_average, strict=True):
            if average is not None:
                old, new = (ops.cast(factor, variable.dtype) for factor in factors)
                average.assign(old * average + new * variable)


@keras.saving.register_keras_serializable("tfflows")
class Adam(_OneOperation, keras.optimizers.Adam):
    """Keras's Adam, with the same arguments, variables and results, faster to trace and to run on TensorFlow.

    Reference:
        Kingma and Ba 2015, "Adam: a method for stochastic optimization", arXiv 1412.6980, algorithm 1.
    """


@keras.saving.register_keras_serializable("tfflows")
class AdamW(_OneOperation, keras.optimizers.AdamW):
    """Keras's AdamW, with the same arguments, variables and results, faster to trace and to run on TensorFlow.

    Reference:
        Loshchilov and Hutter 2019, "Decoupled weight decay regularization", arXiv 1711.05101.
    """


@keras.saving.register_keras_serializable("tfflows")
class Adamax(_ClippedAsOne, keras.optimizers.Adamax):
    """Keras's Adamax, with the same arguments, variables and results.

    Reference:
        Kingma and Ba 2015, "Adam: a method for stochastic optimization", arXiv 1412.6980, algorithm 2.
    """


def get(optimizer: str | keras.optimizers.Optimizer | None, **config: Any) -> keras.optimizers.Optimizer | None:
    """Returns an optimizer by its Keras name, where "adam", "adamw" and "adamax" are those of this module.

    Args:
        optimizer: a name; anything else is returned as it is.
        **config: the optimizer's arguments.
    """
    if not isinstance(optimizer, str):
        return optimizer
    ours = {"adam": Adam, "adamw": AdamW, "adamax": Adamax}.get(optimizer.lower())
    return ours(**config) if ours else keras.optimizers.get({"class_name": optimizer, "config": config})


def _adam_constants(
    step: Tensor, learning_rate: Tensor, beta_1: float, beta_2: float, epsilon: float
) -> dict[str, Tensor]:
    """Returns the arguments of TensorFlow's operation that all weights share in step number `step`, from 1."""
    import tensorflow as tf

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


def _adam_update(variable: Any, momentum: Any, velocity: Any, gradient: Tensor, constants: dict[str, Tensor]) -> None:
    """Updates a `tf.Variable` and its two moments."""
    import tensorflow as tf

    if variable.dtype != tf.float32:
        constants = {name: tf.cast(number, variable.dtype) for name, number in constants.items()}
    gradient = tf.cast(tf.convert_to_tensor(gradient), variable.dtype)
    handles = {"var": variable.handle, "m": momentum.handle, "v": velocity.handle}
    tf.raw_ops.ResourceApplyAdam(**handles, **constants, grad=gradient)
