"""Dequantizers: their noise, their density, and the bound they give."""

import keras
import numpy as np
import pytest
from keras import ops

from tfflows import Flow, dequantizers, layers, models, nets
from tfflows._backend import noise

IMAGES = np.random.RandomState(0).randint(0, 17, (500, 4, 4, 1)).astype("uint8")


def variational(event_shape=(4, 4, 1), scale=0.3):
    keras.utils.set_random_seed(0)
    dequantizer = models.DEQUANTIZERS["variational"](event_shape, 17, num_couplings=2, filters=4, num_blocks=1)
    dequantizer.build((None, *event_shape))
    rng = np.random.RandomState(1)
    for weight in dequantizer.trainable_weights:
        weight.assign(weight + scale * rng.normal(size=weight.shape))
    return dequantizer


@pytest.mark.parametrize("make", [dequantizers.UniformDequantizer, variational])
def test_floor_gives_the_image_back_and_noise_is_the_images_own(make):
    dequantizer = make()
    x, log_q = dequantizer.dequantize(IMAGES, noise.image_keys(IMAGES))
    np.testing.assert_array_equal(np.floor(ops.convert_to_numpy(x)), IMAGES)
    assert tuple(log_q.shape) == (500,)
    again, _ = dequantizer.dequantize(IMAGES[250:260], noise.image_keys(IMAGES[250:260]))
    np.testing.assert_allclose(ops.convert_to_numpy(again), ops.convert_to_numpy(x)[250:260], atol=1e-5)


@pytest.mark.parametrize("shift", [-200.0, 200.0])
def test_variational_noise_stays_within_the_value_where_it_rounds_to_0_or_1(shift):
    images = np.arange(256, dtype="uint8").reshape(1, 16, 16, 1)
    dequantizer = dequantizers.VariationalDequantizer(layers.ChannelAffine())
    dequantizer.build((None, 16, 16, 1))
    dequantizer.transform.bias.assign([shift, 0.0])
    x, _ = dequantizer.dequantize(images, noise.image_keys(images))
    np.testing.assert_array_equal(np.floor(ops.convert_to_numpy(x)), images)
    assert np.unique(np.round(ops.convert_to_numpy(x) - images)) in (0, 1)


@pytest.mark.parametrize("num_values", [256, 4096, 65536])
def test_uniform_noise_leads_to_no_other_value(num_values):
    images = np.full((64, 64, 64, 1), num_values - 1, "int32")
    x, _ = dequantizers.UniformDequantizer().dequantize(images, noise.fold(noise.image_keys(images), np.arange(64)))
    np.testing.assert_array_equal(np.floor(ops.convert_to_numpy(x)), images)


def test_uniform_noise_is_uniform_and_independent_between_images():
    x, _ = dequantizers.UniformDequantizer().dequantize(IMAGES, noise.image_keys(IMAGES))
    u = (ops.convert_to_numpy(x) - IMAGES).reshape(500, 16)
    assert abs(u.mean() - 0.5) < 4 * np.sqrt(1 / 12 / u.size)
    assert abs(u.var() - 1 / 12) < 4 * np.sqrt(1 / 180 / u.size)
    correlation = np.corrcoef(u.T)[~np.eye(16, dtype=bool)]
    assert np.abs(correlation).max() < 4.5 / np.sqrt(500)


def test_density_of_variational_noise():
    """log q(u | image) is that of the inverse map at u, and q integrates to 1 over the pixels of one image."""
    dequantizer = variational((2, 1, 1), scale=0.5)
    image = np.array([[[[3]], [[11]]]], "uint8")
    x, log_q = dequantizer.dequantize(image, noise.image_keys(image))

    def log_density(u):
        condition = np.repeat(dequantizer._condition(image), len(u), axis=0)
        epsilon, log_det = dequantizer.transform.inverse_and_log_det(
            ops.convert_to_tensor(np.log(u / (1 - u)), "float32"), condition=ops.convert_to_tensor(condition)
        )
        epsilon, log_det = (ops.convert_to_numpy(v).astype("float64") for v in (epsilon, log_det))
        normal = -0.5 * epsilon**2 - 0.5 * np.log(2 * np.pi)
        return np.sum(normal, axis=(1, 2, 3)) + log_det - np.sum(np.log(u * (1 - u)), axis=(1, 2, 3))

    u = ops.convert_to_numpy(x) - image
    np.testing.assert_allclose(ops.convert_to_numpy(log_q), log_density(u), atol=1e-3)
    side = (np.arange(500) + 0.5) / 500
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2, 1, 1)
    assert abs(np.exp(log_density(grid)).mean() - 1) < 1e-3


def test_a_flow_learns_its_dequantizer_and_is_saved_with_it(tmp_path):
    couplings = [layers.Coupling(nets.ConvResNet(4, 1), "checkerboard", flip) for flip in (True, False)]
    flow = Flow(layers.Chain([*couplings, layers.Logit(17)]), (4, 4, 1), 17, dequantizer=variational(scale=0.0))
    before = flow.dequantizer.get_weights()
    flow.compile("adam")
    flow.fit(IMAGES, batch_size=100, verbose=0)
    assert any(np.any(a != b) for a, b in zip(before, flow.dequantizer.get_weights(), strict=True))
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    np.testing.assert_allclose(loaded.bits_per_dim(IMAGES[:50]), flow.bits_per_dim(IMAGES[:50]), rtol=1e-5)


def test_variational_dequantizer_refuses_data_dependent_layers():
    transform = layers.Chain([layers.ActNorm()])
    with pytest.raises(ValueError, match="without data-dependent layers"):
        Flow(layers.Rescale(17), (4, 4, 1), 17, dequantizer=dequantizers.VariationalDequantizer(transform, 17))
