"""`trainable=False`: no statistics of the batch, no update of averages, no second initialisation."""

import keras
import numpy as np
import pytest
from keras import ops

from tfflows import Flow, layers, models

IMAGES = np.random.RandomState(0).randint(0, 17, (32, 4, 4, 2)).astype("uint8")


def values(layer):
    return [ops.convert_to_numpy(variable) for variable in layer.variables]


def test_frozen_batch_normalisation_uses_its_averages_and_keeps_them():
    x = np.random.default_rng(0).normal(3.0, 2.0, size=(64, 4)).astype("float32")
    layer = layers.BatchNorm(learned=True)
    layer(x, training=True)
    layer.trainable = False
    before = values(layer)
    in_training, expected = layer(x, training=True), layer(x)
    for got, want in zip(in_training, expected, strict=True):
        np.testing.assert_array_equal(got, want)
    for got, want in zip(values(layer), before, strict=True):
        np.testing.assert_array_equal(got, want)
    assert layer.invertible_in_training
    layer.trainable = True
    assert np.any(np.asarray(layer(x, training=True)[0]) != np.asarray(expected[0]))


def test_fit_leaves_a_frozen_part_of_a_flow_alone():
    flow = Flow(models.realnvp((4, 4, 2), 17, num_levels=1, num_blocks=1, filters=4), (4, 4, 2), num_values=17)
    frozen = [layer for layer in flow.transform.layers[0].layers[0].layers if isinstance(layer, layers.BatchNorm)]
    for layer in frozen[:2]:
        layer.trainable = False
    before = [values(layer) for layer in frozen]
    flow.compile(keras.optimizers.SGD(1e-3))
    flow.fit(IMAGES, batch_size=16, verbose=0)
    changed = [
        any(np.any(a != b) for a, b in zip(values(layer), old, strict=True))
        for layer, old in zip(frozen, before, strict=True)
    ]
    assert changed == [False, False, True, True]


@pytest.mark.parametrize("make", [layers.ActNorm, layers.DiagonalScale, lambda: layers.Gaussianize(17)])
def test_a_frozen_layer_is_not_initialised(make):
    x = IMAGES.astype("float32")
    layer = make()
    layer.build((None, 4, 4, 2))
    layer.trainable = False
    before = values(layer)
    layer.initialize(ops.convert_to_tensor(x))
    for got, want in zip(values(layer), before, strict=True):
        np.testing.assert_array_equal(got, want)
    layer.trainable = True
    layer.initialize(ops.convert_to_tensor(x))
    assert any(np.any(a != b) for a, b in zip(values(layer), before, strict=True))


def test_adapting_leaves_frozen_couplings_alone():
    """Actnorm is in the networks of Glow's couplings too."""
    flow = Flow(models.glow((4, 4, 2), 17, num_levels=1, num_steps=2, width=4), (4, 4, 2), num_values=17)
    steps = flow.transform.layers[0].layers[0].layers
    couplings = [layer for layer in steps if isinstance(layer, layers.Coupling)]
    couplings[0].trainable = False
    before = [values(layer) for layer in couplings]
    flow.adapt(IMAGES)
    changed = [
        any(np.any(a != b) for a, b in zip(values(layer), old, strict=True))
        for layer, old in zip(couplings, before, strict=True)
    ]
    assert changed == [False, True]
