"""Planar and continuous flows, against what is known in closed form."""

import keras
import numpy as np
import pytest
import scipy.linalg
from keras import ops

from tfflows import Flow, layers, nets
from tfflows.errors import InputError
from tfflows.flow.check import double_precision


def built(layer, size):
    layer.build((None, size))
    return layer


def test_planar_stays_invertible_where_the_weights_ask_for_a_fold():
    """w^T v = -6 would fold space (w^T u < -1); the layer's u does not, and its inverse finds the points again."""
    with double_precision():
        layer = built(layers.Planar(dtype="float64"), 2)
        layer.w.assign([2.0, 0.0])
        layer.v.assign([-3.0, 1.0])
        z = np.random.default_rng(0).normal(size=(200, 2))
        x, log_det = layer.forward_and_log_det(ops.convert_to_tensor(z))
        back, inverse_log_det = layer.inverse_and_log_det(x)
        assert np.min(np.diff(ops.convert_to_numpy(x)[np.argsort(z[:, 0]), 0])) > 0  # the map is increasing along w
        np.testing.assert_allclose(back, z, atol=1e-12)
        np.testing.assert_allclose(inverse_log_det, -ops.convert_to_numpy(log_det), atol=1e-12)


def test_planar_starts_as_the_identity():
    z = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    x, log_det = built(layers.Planar(), 3).forward_and_log_det(ops.convert_to_tensor(z))
    np.testing.assert_array_equal(x, z)
    np.testing.assert_allclose(log_det, np.zeros(5), atol=1e-6)


def test_continuous_with_a_linear_velocity_is_the_matrix_exponential():
    layer = built(layers.Continuous(nets.MLP(())), 2)
    matrix = np.array([[0.3, -0.8], [0.5, 0.2]])
    kernel, bias = layer.velocity.weights
    kernel.assign(np.vstack([matrix.T, np.zeros((1, 2))]))  # nothing from t
    bias.assign(np.zeros(2))
    z = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    x, log_det = layer.forward_and_log_det(ops.convert_to_tensor(z))
    np.testing.assert_allclose(x, z @ scipy.linalg.expm(matrix).T, atol=1e-5)
    np.testing.assert_allclose(log_det, np.full(4, np.trace(matrix)), atol=1e-6)


@pytest.mark.parametrize("make_layer", [layers.Planar, lambda: layers.Continuous(nets.MLP([4]))])
def test_images_are_refused(make_layer):
    with pytest.raises(ValueError, match="put Flatten before it"):
        make_layer().build((None, 4, 4, 1))


def test_a_continuous_flow_is_trained_by_fit():
    """A normal of mean 1 and standard deviation 1/2 has 1.048 bits/dim; the flow starts at 2.23 bits/dim."""
    keras.utils.set_random_seed(0)
    flow = Flow(layers.Continuous(nets.MLP([8], activation="tanh"), num_steps=4), (2,), dequantizer=None)
    x = np.random.default_rng(0).normal(1.0, 0.5, size=(512, 2)).astype("float32")
    flow.compile(keras.optimizers.Adam(0.03))
    flow.fit(x, batch_size=128, epochs=15, verbose=0)
    assert flow.evaluate(x, batch_size=512, verbose=0)[1] < 1.15


def test_a_network_in_half_precision_is_refused():
    with pytest.raises(InputError, match="give the network dtype='float32'"):
        built(layers.Continuous(nets.MLP([4], dtype="mixed_bfloat16")), 2)
