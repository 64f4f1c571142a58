"""Flows on tori and on the sphere: the contract, total mass 1, no seam, and samples that stay on the manifold."""

import keras
import numpy as np
import pytest
from keras import ops

from tfflows import Flow, check_flow_layer, layers, nets, transformers
from tfflows.errors import InputError
from tfflows.layers import sphere


def coupling(condition_size=0, **kwargs):
    net = nets.Periodic(nets.MLP((8,), activation="tanh"), condition_size)
    transformer = transformers.CircularSpline(4)
    return layers.Coupling(net, transformer=transformer, condition_size=condition_size, **kwargs)


def autoregressive(condition_size=0):
    net = nets.PeriodicMADE((8,), activation="tanh", condition_size=condition_size)
    return layers.Autoregressive(net, transformers.CircularSpline(4))


def cylinder(condition_size=0):
    return layers.Cylinder(nets.MLP((8,), activation="tanh"), num_bins=4, condition_size=condition_size)


def on_sphere(rng, size):
    return rng.uniform([-1, -np.pi], [1, np.pi], size)


def on_torus(rng, size):
    return rng.uniform(-np.pi, np.pi, size)


LAYERS = {
    "coupling of angles": (lambda: coupling(2), (3,), {"condition_size": 2, "draw_latents": on_torus}),
    "autoregressive angles": (lambda: autoregressive(2), (3,), {"condition_size": 2, "draw_latents": on_torus}),
    "interval": (lambda: layers.Coupling(nets.MLP((8,)), transformer=transformers.IntervalSpline(4)), (4,), {}),
    "cylinder": (lambda: cylinder(2), (2,), {"condition_size": 2, "draw_latents": on_sphere}),
    "rotation": (layers.Rotation, (2,), {"draw_latents": on_sphere}),
}


def on_jax(*names):
    """The parameters of a table: on JAX, which compiles each for long, those named alone."""
    return lambda table: [pytest.param(n, marks=[] if n in names else pytest.mark.backend_free) for n in table]


@pytest.mark.parametrize("name", on_jax("cylinder")(LAYERS))
def test_layers_of_manifolds_keep_the_contract(name):
    make_layer, event_shape, options = LAYERS[name]
    check_flow_layer(make_layer, event_shape, **options)


def randomized(transform, base, scale=0.5):
    keras.utils.set_random_seed(0)
    flow = Flow(transform, (2,), base=base, dequantizer=None)
    draw = np.random.RandomState(1)
    for weight in flow.weights:
        if "float" in weight.dtype:
            weight.assign(weight + scale * draw.randn(*weight.shape))
    return flow


FLOWS = {
    "torus, coupling": lambda: randomized(layers.Chain([coupling(), coupling(flip=True)]), "torus"),
    "torus, autoregressive": lambda: randomized(layers.Chain([autoregressive(), layers.Permute()]), "torus"),
    "sphere": lambda: randomized(layers.Chain([cylinder(), layers.Rotation(1), cylinder()]), "sphere"),
}


@pytest.mark.parametrize("name", on_jax("torus, coupling")(FLOWS))
def test_the_density_integrates_to_one_and_samples_stay_on_the_manifold(name):
    flow, n = FLOWS[name](), 600
    ends = np.array([1.0 if name == "sphere" else np.pi, np.pi])
    axes = [end * (2 * (np.arange(n) + 0.5) / n - 1) for end in ends]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2).astype("float32")
    density = np.exp(flow.predict(grid, batch_size=50_000, verbose=0).astype("float64"))
    mass = density.mean() * np.prod(2 * ends)
    assert mass == pytest.approx(1, abs=1e-3)
    assert density.max() > 3 * density.mean()  # not the uniform one

    x = flow.sample(5000, seed=0)
    assert np.all(np.abs(x) <= ends.astype("float32"))
    z = flow.encode(x)
    np.testing.assert_allclose(np.abs(z[:, 0]) <= ends[0] + 1e-5, True)
    # The share of samples with a positive first coordinate is the density's.
    share = density.reshape(n, n)[n // 2 :].sum() / density.sum()
    assert np.mean(x[:, 0] > 0) == pytest.approx(share, abs=4 * np.sqrt(0.25 / 5000))


@pytest.mark.backend_free
def test_the_density_has_no_seam():
    """An angle and the same angle one turn on have one density, and it is continuous where the turn closes."""
    flow = FLOWS["torus, coupling"]()
    x = np.random.RandomState(2).uniform(-3, 3, (50, 2)).astype("float32")
    np.testing.assert_allclose(flow.log_prob(x), flow.log_prob(x + np.float32([2 * np.pi, -2 * np.pi])), atol=1e-3)
    for axis in (0, 1):
        left, right = x.copy(), x.copy()
        left[:, axis], right[:, axis] = np.pi - 1e-5, -np.pi + 1e-5
        np.testing.assert_allclose(flow.log_prob(left), flow.log_prob(right), atol=5e-3)


@pytest.mark.backend_free
def test_the_slopes_at_the_ends_of_an_interval_are_free_and_those_of_a_circle_equal():
    outputs = ops.convert_to_tensor(np.array([[0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, -1]], "float32"))
    for transformer, end in ((transformers.IntervalSpline(4), 1.0), (transformers.CircularSpline(4), np.pi)):
        bijector = transformer.bijector(outputs * (np.arange(13) < (13 if end == 1 else 12)))  # without the rotation
        ends = ops.convert_to_tensor(np.float32([[-end + 1e-5], [end - 1e-5]]))
        slopes = ops.convert_to_numpy(bijector.inverse_log_det_jacobian(ends, event_ndims=0)).ravel()
        images = ops.convert_to_numpy(bijector.inverse(ends)).ravel()
        np.testing.assert_allclose(images, [-end, end], atol=1e-3)
        assert (abs(slopes[0] - slopes[1]) < 1e-3) == (end == np.pi)
        assert np.abs(slopes).max() > 0.1


def test_coordinates_and_wrong_shapes():
    x = np.random.RandomState(4).uniform([-1, -3], [1, 3], (20, 2)).astype("float32")
    points = ops.convert_to_numpy(sphere.to_points(ops.convert_to_tensor(x)))
    np.testing.assert_allclose(np.linalg.norm(points, axis=-1), 1, atol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(sphere.from_points(ops.convert_to_tensor(points))), x, atol=1e-5)
    flow = Flow(cylinder(), (2,), base="sphere", dequantizer=None)
    off = np.array([[0.5, 3.0], [1.0, 0.0], [3.0, 0.5], [-1.1, 0.0]], "float32")
    np.testing.assert_array_equal(np.isfinite(flow.log_prob(off)), [True, True, False, False])
    for make_layer in (cylinder, layers.Rotation):
        with pytest.raises(InputError, match="height and angle"):
            make_layer().build((None, 3))
    with pytest.raises(InputError, match="sphere has the coordinates"):
        Flow(layers.DiagonalScale(), (3,), base="sphere", dequantizer=None)
    for wrong in (transformers.CircularSpline, transformers.IntervalSpline):
        with pytest.raises(InputError, match="2 to 100"):
            wrong(1)
