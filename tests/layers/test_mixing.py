"""A chain computes an actnorm and the 1x1 convolution next to it as one product: with the values of the two layers."""

import keras
import numpy as np
import pytest
from keras import ops

from tfflows import layers, nets
from tfflows._backend.autodiff import gradients
from tfflows.flow.check import double_precision
from tfflows.layers import mixing


@pytest.fixture
def chain():
    """Two pairs of one size, one of another, and neighbours that are no pair: W = PLU, and the wrong order."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    with double_precision():
        from_data = [
            *(layers.ActNorm(), layers.Conv1x1(seed=1), layers.Coupling(nets.GlowConvNet(8))),
            *(layers.ActNorm(), layers.Conv1x1(seed=2), layers.Squeeze()),
            *(layers.ActNorm(), layers.Conv1x1(seed=3), layers.ActNorm()),
            *(layers.Conv1x1(lu=True, seed=4), layers.ActNorm()),
        ]
        made, random = layers.Chain.from_data(from_data), np.random.default_rng(0)
        made.build((None, 4, 4, 2))
        for weight in made.trainable_weights:
            weight.assign(weight + 0.2 * random.normal(size=weight.shape))
        yield made
    keras.config.set_dtype_policy(policy)


def one_by_one(chain, x, density):
    total = 0.0
    for layer in reversed(chain.layers) if density else chain.layers:
        x, log_det = layer.inverse_and_log_det(x) if density else layer.forward_and_log_det(x)
        total = total + log_det
    return x, total


@pytest.mark.parametrize("density", [True, False])
def test_a_pair_has_the_values_and_the_gradients_of_its_layers(chain, density):
    random = np.random.default_rng(1)
    x = ops.convert_to_tensor(random.normal(size=(5, 4, 4, 2) if density else (5, 2, 2, 8)))
    together = chain.inverse_and_log_det if density else chain.forward_and_log_det
    assert len(mixing.merged(chain.layers[:: -1 if density else 1], density)) == len(chain.layers) - 3
    results = []
    for function in (together, lambda x: one_by_one(chain, x, density)):

        def loss(function=function):
            y, log_det = function(x)
            return ops.sum(y**2) + ops.sum(log_det * np.arange(5.0))

        slopes = gradients(loss, chain.trainable_weights)
        results.append([*map(ops.convert_to_numpy, (*function(x), *slopes))])
    assert results[0][1].shape == (5,)
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
