"""On devices that round the operands of float32 products, a flow's own products stay exact.

Such a device is emulated: every product and convolution of float32 rounds its operands to 10 bits of mantissa, as
TensorFloat-32 does.
"""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from tfflows import _backend, layers, zoo

BITS = 10


def rounded(x):
    """x to `BITS` bits of mantissa: of 2^13 + 1 times x, what is left after x is taken away again (Dekker 1971)."""
    if keras.backend.standardize_dtype(x.dtype) != "float32":
        return x
    large = x * (2.0 ** (23 - BITS) + 1)
    return large - (large - x)


def rounding(function):
    def call(a, b, *args, **kwargs):
        if kwargs.get("precision") == "highest":
            return function(a, b, *args, **kwargs)
        return function(rounded(ops.convert_to_tensor(a)), rounded(ops.convert_to_tensor(b)), *args, **kwargs)

    return call


@pytest.fixture
def tensor_float_32(monkeypatch):
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        places = [(tf, "matmul"), (tf.linalg, "matmul"), (tf.nn, "convolution"), (tf.nn, "conv2d")]
        monkeypatch.setattr(_backend, "rounds_products", lambda: True)
    else:
        import jax

        places = [(jax.numpy, "matmul"), (jax.lax, "conv_general_dilated")]
    for module, name in places:
        monkeypatch.setattr(module, name, rounding(getattr(module, name)))


def test_the_emulation_rounds(tensor_float_32):
    a = np.random.default_rng(0).normal(size=(64, 64)).astype("float32")
    error = np.abs(ops.convert_to_numpy(ops.matmul(a, a)) - a.astype("float64") @ a)
    assert 1e-3 < error.max() < 1e-1
    image, kernel = a.reshape(1, 8, 8, 64), a.reshape(1, 1, 64, 64)
    error = np.abs(ops.convert_to_numpy(ops.conv(image, kernel)).reshape(64, 64) - a.astype("float64") @ a)
    assert 1e-3 < error.max() < 1e-1


@pytest.mark.parametrize("make", [layers.Conv1x1, lambda: layers.Conv1x1(lu=True), layers.Planar])
def test_a_layers_own_products_are_exact(tensor_float_32, make):
    keras.utils.set_random_seed(0)
    layer, rng = make(), np.random.default_rng(0)
    layer.build((None, 24))
    for weight in layer.trainable_weights:
        weight.assign(weight + 0.1 * rng.normal(size=weight.shape))
    x = rng.normal(size=(200, 24)).astype("float32")
    z, log_det = layer.inverse_and_log_det(x)
    back, other = layer.forward_and_log_det(z)
    np.testing.assert_allclose(back, x, atol=2e-5)
    np.testing.assert_allclose(other, -ops.convert_to_numpy(log_det), atol=1e-5)


def test_decoding_gives_every_image_back(tensor_float_32):
    """Of a trained Glow whose networks are rounded too; with rounded 1x1 convolutions every image came back wrong."""
    with np.load(Path(__file__).parents[1] / "reference" / "entries.npz", allow_pickle=False) as values:
        images = values["glow_fashion_mnist.samples"]
    flow = zoo.load("glow_fashion_mnist")
    np.testing.assert_array_equal(flow.decode(flow.encode(images)), images)
