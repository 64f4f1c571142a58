"""The density direction of flow layers with gradients that need no stored activations."""

import keras

from tfflows._backend import autodiff


def inverse_and_log_det(layers, x, condition=None):
    """(z, log_det) of `layers`, listed from data to latent, in training.

    Equal to their `inverse_and_log_det` one after the other. The backward pass rebuilds the input of each layer from
    its output by `forward_and_log_det`, so that nothing of size [B, ...] is kept in between, for one more evaluation in
    each direction (Gomez et al. 2017, "The reversible residual network", arXiv 1707.04585, algorithm 1). Each layer
    must be `invertible_in_training`. In the backward pass a layer finds its weights and states (the seeds of dropout)
    as they were; what it assigns to its states is assigned once.
    """
    sizes = [len(layer.variables) for layer in layers]
    weights = [variable.value for layer in layers for variable in layer.variables]

    def unpack(inputs):
        """x, the condition and the values of each layer's variables, from the flat list that gradients are for."""
        x, *rest = inputs
        given = None if condition is None else rest.pop(0)
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        return x, given, [rest[end - size : end] for end, size in zip(ends, sizes, strict=True)]

    def run(*inputs):
        x, given, values = unpack(inputs)
        total, states = 0.0, []
        for layer, held in zip(layers, values, strict=True):
            x, log_det, after = _evaluate(layer, "inverse_and_log_det", held, x, given)
            total = total + log_det
            states += after
        return x, total, *states

    def gradient(inputs, outputs, cotangents):
        _, given, values = unpack(inputs)
        (z, *_), (d_z, d_log_det, *_) = outputs, cotangents
        d_given, d_values, d_rest = [], [], []
        for layer, held in zip(reversed(layers), reversed(values), strict=True):
            # Without a barrier every layer's input would be rebuilt at once, or be found to equal the stored one. The
            # gradients of the weights are part of it: what waits for its turn holds activations.
            z, d_z, *_ = autodiff.optimization_barrier([z, d_z, *(d for d in d_rest if d is not None)])
            x, *_ = _evaluate(layer, "forward_and_log_det", held, z, given)

            def inverse(x, *rest, layer=layer):
                given, held = (None, rest) if condition is None else (rest[0], rest[1:])
                return _evaluate(layer, "inverse_and_log_det", held, x, given)[:2]

            leaves = [x, *([] if given is None else [given]), *held]
            d_z, *d_rest = autodiff.vjp(inverse, leaves, (d_z, d_log_det))
            if given is not None:
                d_given.append(d_rest.pop(0))
            d_values = [*d_rest, *d_values]
            z = x
        if given is not None:
            found = [d for d in d_given if d is not None]
            d_given = [sum(found) if found else None]
        return d_z, *d_given, *d_values

    inputs = [x, *([] if condition is None else [condition]), *weights]
    z, total, *states = autodiff.custom_gradient(run, gradient)(*inputs)
    for layer in layers:
        for variable in layer.non_trainable_variables:
            variable.assign(states.pop(0))
    return z, total


def _evaluate(layer, direction, values, x, condition):
    """(y, log_det, states afterwards) of a layer in training, a pure function of the values of its variables."""
    with keras.StatelessScope(state_mapping=list(zip(layer.variables, values, strict=True))) as scope:
        y, log_det = getattr(layer, direction)(x, condition=condition, training=True)
    return y, log_det, [scope.get_current_value(variable) for variable in layer.non_trainable_variables]
