"""The density direction of flow layers with gradients that need no stored activations."""

from collections.abc import Sequence
from typing import NamedTuple

import keras

from tfflows._backend import Tensor, autodiff
from tfflows.layers.base import FlowLayer


def inverse_and_log_det(
    layers: Sequence[FlowLayer], x: Tensor, condition: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Returns z and the log-det of `layers`, listed from data to latent, in training.

    The values are those of their `inverse_and_log_det` one after the other. The backward pass computes the input of
    each layer from its output by `forward_and_log_det`, so that nothing of size [B, ...] is stored in between, for one
    more evaluation in each direction (Gomez et al. 2017, "The reversible residual network", arXiv 1707.04585,
    algorithm 1). In the backward pass a layer finds its weights and states (the seeds of dropout) as they were; what
    it assigns to its states is assigned once, and what its network adds by `add_loss` is part of the loss, once.

    Args:
        layers: flow layers, each `invertible_in_training`.
        x: [B, *event_shape].
        condition: [B, N] or [B, H, W, N], or None.
    """
    sizes = [len(layer.variables) for layer in layers]
    weights = [variable.value for layer in layers for variable in layer.variables]
    num_losses: list[int] = []  # of each layer; known when `run` has run

    def unpack(inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor | None, list[list[Tensor]]]:
        """Returns x, the condition and the values of each layer's variables, from the list that gradients are for."""
        x, *rest = inputs
        given = None if condition is None else rest.pop(0)
        return x, given, _split(rest, sizes)

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        x, given, values = unpack(inputs)
        total, losses, states = 0.0, [], []
        num_losses.clear()
        for layer, held in zip(layers, values, strict=True):
            done = _evaluate(layer, "inverse_and_log_det", held, x, given)
            x, total = done.y, total + done.log_det
            losses += done.losses
            states += done.states
            num_losses.append(len(done.losses))
        return x, total, *losses, *states

    def gradient(
        inputs: Sequence[Tensor], outputs: Sequence[Tensor], cotangents: Sequence[Tensor]
    ) -> Sequence[Tensor | None]:
        _, given, values = unpack(inputs)
        (z, *_), (d_z, d_log_det, *d_extra) = outputs, cotangents
        d_losses = _split(d_extra, num_losses)
        d_given, d_values, d_rest = [], [], []
        for layer, held, d_own in zip(layers[::-1], values[::-1], d_losses[::-1], strict=True):
            # Without a barrier every layer's input would be computed at once, or the compiler would find it equal to
            # the stored one. The weights' gradients are part of it: those that wait hold activations.
            z, d_z, *_ = autodiff.optimization_barrier([z, d_z, *(d for d in d_rest if d is not None)])
            x = _evaluate(layer, "forward_and_log_det", held, z, given).y

            def inverse(x: Tensor, *rest: Tensor, layer: FlowLayer = layer) -> tuple[Tensor, ...]:
                given, held = (None, rest) if condition is None else (rest[0], rest[1:])
                done = _evaluate(layer, "inverse_and_log_det", held, x, given)
                return done.y, done.log_det, *done.losses

            leaves = [x, *([] if given is None else [given]), *held]
            d_z, *d_rest = autodiff.vjp(inverse, leaves, (d_z, d_log_det, *d_own))
            if given is not None:
                d_given.append(d_rest.pop(0))
            d_values = [*d_rest, *d_values]
            z = x
        if given is not None:
            found = [d for d in d_given if d is not None]
            d_given = [sum(found) if found else None]
        return d_z, *d_given, *d_values

    inputs = [x, *([] if condition is None else [condition]), *weights]
    z, total, *extra = autodiff.custom_gradient(run, gradient)(*inputs)
    *losses, states = _split(extra, [*num_losses, len(extra) - sum(num_losses)])
    for layer, own in zip(layers, losses, strict=True):
        for loss in own:
            layer.add_loss(loss)
        for variable in layer.non_trainable_variables:
            variable.assign(states.pop(0))
    return z, total


class _Evaluation(NamedTuple):
    """What a layer computes in training: y, the log-det, what it adds to the loss, and its states afterwards."""

    y: Tensor
    log_det: Tensor
    losses: list[Tensor]
    states: list[Tensor]


def _evaluate(
    layer: FlowLayer, direction: str, values: Sequence[Tensor], x: Tensor, condition: Tensor | None
) -> _Evaluation:
    """Evaluates a layer in one direction, in training, as a pure function of the values of its variables."""
    mapping = list(zip(layer.variables, values, strict=True))
    with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
        y, log_det = getattr(layer, direction)(x, condition=condition, training=True)
    states = [scope.get_current_value(variable) for variable in layer.non_trainable_variables]
    if scope.losses:
        # They are added to the loss again, outside, as new tensors: Keras tells losses by `id`, and an `id` may recur.
        for part in layer._flatten_layers():
            part._loss_ids.difference_update(map(id, scope.losses))
    return _Evaluation(y, log_det, scope.losses, states)


def _split(values: Sequence[Tensor], sizes: Sequence[int]) -> list[list[Tensor]]:
    """Returns consecutive parts of the given sizes; what is left over is dropped."""
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [list(values[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
