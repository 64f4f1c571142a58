"""Adam and AdamW with one TensorFlow operation for each weight."""

import types

import keras


class _OneOperation:
    """Keras's update of a weight, on TensorFlow as the one operation that exists for it, where Keras writes about 30.

    A flow has many small weights (Glow twelve in each step): these operations were 40 % of its training step's graph.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # What all weights' updates in one step share. A namespace, since Keras would track it in a list or a dict.
        self._step = types.SimpleNamespace(constants=None)

    def apply(self, grads, trainable_variables=None):
        self._step.constants = None
        super().apply(grads, trainable_variables)
        self._step.constants = None  # a tensor of a graph, else kept for ever

    def update_step(self, gradient, variable, learning_rate):
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        if self._step.constants is None:
            numbers = learning_rate, self.beta_1, self.beta_2, self.epsilon
            self._step.constants = _adam_constants(self.iterations + 1, *numbers)
        index = self._get_variable_index(variable)
        moments = self._momentums[index].value, self._velocities[index].value
        _adam_update(variable, *moments, gradient, self._step.constants)


@keras.saving.register_keras_serializable("tfflows")
class Adam(_OneOperation, keras.optimizers.Adam):
    """Keras's Adam, with the same arguments, variables and results, faster to trace and to run on TensorFlow.

    Reference: Kingma and Ba 2015, "Adam: a method for stochastic optimization", arXiv 1412.6980, algorithm 1.
    """


@keras.saving.register_keras_serializable("tfflows")
class AdamW(_OneOperation, keras.optimizers.AdamW):
    """Keras's AdamW, in the same way.

    Reference: Loshchilov and Hutter 2019, "Decoupled weight decay regularization", arXiv 1711.05101.
    """


def get(optimizer, **config):
    """An optimizer by its Keras name; "adam" and "adamw" are those of this module. What is no name stays as it is."""
    if not isinstance(optimizer, str):
        return optimizer
    ours = {"adam": Adam, "adamw": AdamW}.get(optimizer.lower())
    return ours(**config) if ours else keras.optimizers.get({"class_name": optimizer, "config": config})


def _adam_constants(step, learning_rate, beta_1, beta_2, epsilon):
    """What the updates of all weights in step number `step` (from 1) share: the arguments of TensorFlow's operation."""
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


def _adam_update(variable, momentum, velocity, gradient, constants):
    """Adam's update of three `tf.Variable`s, by the one operation that TensorFlow has."""
    import tensorflow as tf

    if variable.dtype != tf.float32:
        constants = {name: tf.cast(number, variable.dtype) for name, number in constants.items()}
    gradient = tf.cast(tf.convert_to_tensor(gradient), variable.dtype)
    handles = {"var": variable.handle, "m": momentum.handle, "v": velocity.handle}
    tf.raw_ops.ResourceApplyAdam(**handles, **constants, grad=gradient)
