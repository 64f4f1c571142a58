"""Adam in few operations; the optimizer and the precision that a recipe describes, and flows compiled with them."""

import contextlib
import types

import keras

from tfflows import _backend


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
            self._step.constants = _backend.adam_constants(self.iterations + 1, *numbers)
        index = self._get_variable_index(variable)
        moments = self._momentums[index].value, self._velocities[index].value
        _backend.adam_update(variable, *moments, gradient, self._step.constants)


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


def make_optimizer(train, steps_per_epoch=None):
    """Return the Keras optimizer of a recipe's `[train]` table.

    Args:
        train: a `recipe.Train`.
        steps_per_epoch: the length of an epoch in steps, to which the recipe's schedule is scaled. By default
            the learning rate is constant, for training that goes on after the schedule has ended.
    """
    rate = train.learning_rate
    if steps_per_epoch is not None:
        warmup = round(train.warmup_epochs * steps_per_epoch)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            decay_steps=max(1, train.epochs * steps_per_epoch - warmup),
            alpha=0.0 if train.schedule == "cosine" else 1.0,  # the share that is left at the end
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    averaging = {"use_ema": True, "ema_momentum": train.ema} if train.ema else {}
    return get(train.optimizer, learning_rate=rate, global_clipnorm=train.clip_norm, **averaging)


def compile_flow(flow, train, steps_per_epoch=None):
    """Compile a flow as a recipe's `[train]` table says; the arguments are those of `make_optimizer`.

    `train.jit_compile` is about XLA on TensorFlow: on JAX, Keras without it would run one operation at a time.
    """
    jit_compile = train.jit_compile or keras.backend.backend() == "jax"
    flow.compile(make_optimizer(train, steps_per_epoch), jit_compile=jit_compile)


@contextlib.contextmanager
def precision(policy):
    """A context in which networks are built with a dtype policy of Keras; flow layers stay in float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
