"""The optimizer that a recipe describes, and flows compiled with it."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable("tfflows")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up, then a constant rate or half a cosine down to zero.

        rate(t) = learning_rate * min(1, (t + 1) / warmup_steps) * (1 + cos(pi t / total_steps)) / 2

    without the last factor where `total_steps` is None.

    Args:
        learning_rate: the highest rate.
        warmup_steps: the number of steps of the linear rise; 0 for none.
        total_steps: the step at which the cosine reaches zero, or None for a constant rate.
    """

    def __init__(self, learning_rate, warmup_steps=0, total_steps=None):
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rate = self.learning_rate * ops.minimum(1.0, (step + 1) / max(1, self.warmup_steps))
        if self.total_steps is not None:
            rate *= 0.5 * (1 + ops.cos(math.pi * ops.minimum(1.0, step / self.total_steps)))
        return rate

    def get_config(self):
        return {
            "learning_rate": self.learning_rate,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
        }


def make_optimizer(train, steps_per_epoch=None):
    """Return the Keras optimizer of a recipe's `[train]` table.

    Args:
        train: a `recipe.Train`.
        steps_per_epoch: the length of an epoch in steps, to which the recipe's schedule is scaled. By default
            the learning rate is constant, for training that goes on after the schedule has ended.
    """
    rate = train.learning_rate
    if steps_per_epoch is not None:
        total = train.epochs * steps_per_epoch if train.schedule == "cosine" else None
        rate = Schedule(rate, round(train.warmup_epochs * steps_per_epoch), total)
    averaging = {"use_ema": True, "ema_momentum": train.ema} if train.ema else {}
    config = {"learning_rate": rate, "global_clipnorm": train.clip_norm, **averaging}
    return keras.optimizers.get({"class_name": train.optimizer, "config": config})


def compile_flow(flow, train, steps_per_epoch=None):
    """Compile a flow as a recipe's `[train]` table says; the arguments are those of `make_optimizer`.

    `train.jit_compile` is about XLA on TensorFlow: on JAX, Keras without it would run one operation at a time.
    """
    jit_compile = train.jit_compile or keras.backend.backend() == "jax"
    flow.compile(make_optimizer(train, steps_per_epoch), jit_compile=jit_compile)
