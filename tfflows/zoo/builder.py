"""A recipe becomes a compiled flow."""

import dataclasses

import keras

from tfflows.errors import InputError
from tfflows.flow import Flow, optimizers
from tfflows.flow.base import KINDS
from tfflows.layers import BatchNorm
from tfflows.models import DEQUANTIZERS, MODELS
from tfflows.zoo.hints import read_arguments
from tfflows.zoo.recipe import Recipe, TrainConfig

FINE_TUNING_RATE = 3e-5  # of flows that `zoo.load` returns


def build(recipe: Recipe, seed: int = 0) -> Flow:
    """Returns the untrained, uncompiled flow of a recipe.

    Args:
        recipe: what to build.
        seed: of the noise of training; `keras.utils.set_random_seed` governs the initial weights.

    Raises:
        InputError: the recipe names a family, base, dequantizer or argument that does not exist.
    """
    data, model = recipe.data, recipe.model
    for key, known in (("family", MODELS), ("base", KINDS), ("dequantizer", ["uniform", *DEQUANTIZERS])):
        if (value := getattr(model, key)) not in known:
            raise InputError(f"model.{key} is {value!r}, expected one of {', '.join(sorted(known))}")
    family = MODELS[model.family]
    arguments = read_arguments(family, model.arguments, "model.arguments")
    num_classes = data.num_classes if model.conditional else None
    dequantizer = model.dequantizer
    if dequantizer in DEQUANTIZERS:
        dequantizer = DEQUANTIZERS[dequantizer](data.shape, data.num_values)
    return Flow(
        family(data.shape, data.num_values, condition_size=num_classes or 0, **arguments),
        data.shape,
        num_values=data.num_values,
        base=model.base,
        dequantizer=dequantizer,
        num_classes=num_classes,
        seed=seed,
    )


def make_optimizer(train: TrainConfig, steps_per_epoch: int | None = None) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a recipe's `[train]` table.

    Args:
        train: the table.
        steps_per_epoch: the length of an epoch in steps, to which the recipe's schedule is scaled. By default
            the learning rate is constant, for training after the schedule has ended.
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
    return optimizers.get(train.optimizer, learning_rate=rate, global_clipnorm=train.clip_norm, **averaging)


def compile_flow(flow: Flow, train: TrainConfig, steps_per_epoch: int | None = None, fine_tuning: bool = False) -> None:
    """Compiles a flow as a recipe's `[train]` table says.

    Args:
        flow: the flow.
        train: the table. Its `jit_compile` is about XLA on TensorFlow: on JAX, Keras without it would run one
            operation at a time.
        steps_per_epoch: see `make_optimizer`.
        fine_tuning: compile for weights that are trained already: with a learning rate of `FINE_TUNING_RATE`, at
            which the first steps of an optimizer without history do no harm; without a moving average of the weights,
            which would hold on to the first of them; and with batch normalisation frozen, whose statistics over the
            training images those of a few small batches would replace.
    """
    if fine_tuning:
        for layer in flow._flatten_layers():
            if isinstance(layer, BatchNorm | keras.layers.BatchNormalization):
                layer.trainable = False
        rate = min(FINE_TUNING_RATE, train.learning_rate)
        train = dataclasses.replace(train, learning_rate=rate, ema=None)
    jit_compile = train.jit_compile or keras.backend.backend() == "jax"
    flow.compile(make_optimizer(train, steps_per_epoch), jit_compile=jit_compile)
