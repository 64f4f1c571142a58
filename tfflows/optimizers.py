"""The optimizer and the precision that a recipe describes, and flows compiled with them."""

import contextlib

import keras


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
    config = {"learning_rate": rate, "global_clipnorm": train.clip_norm, **averaging}
    return keras.optimizers.get({"class_name": train.optimizer, "config": config})


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
