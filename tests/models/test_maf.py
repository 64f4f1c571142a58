"""Autoregressive flows: against TensorFlow Probability's, against the naive inverse, and against integrals."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from tfflows import Flow, check_flow_layer, layers, nets, transformers, zoo
from tfflows._backend import autodiff, jit, tfb, tfd
from tfflows.flow.check import double_precision
from tfflows.models import MODELS

# TensorFlow Probability's spline asks JAX for int64.
pytestmark = pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64")


@pytest.fixture
def float64():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    with double_precision():
        yield
    keras.config.set_dtype_policy(policy)


def randomized(layer, shape, scale=0.3, seed=0):
    """The layer, built, with every weight random (last layers start at zero)."""
    layer.build((None, *shape))
    rng = np.random.default_rng(seed)
    for weight in layer.trainable_weights:
        weight.assign(scale * rng.normal(size=weight.shape))
    return layer


def normal(*shape, seed=1):
    return ops.convert_to_tensor(np.random.default_rng(seed).normal(size=shape))


def numpy_made(made, x, condition=None):
    """The masked network, written again: parameters [B, P, n]."""
    h = np.asarray(x)
    for index, (low, high) in enumerate(zip(made._degrees[:-2], made._degrees[1:-1], strict=True)):
        h = h @ (np.asarray(made.kernels[index]) * (low[:, None] <= high)) + np.asarray(made.biases[index])
        if index == 0 and condition is not None:
            h = h + np.asarray(condition) @ np.asarray(made.condition_kernel)
        h = np.maximum(h, 0)
    mask = made._degrees[-2][:, None, None] < np.arange(1, made.size + 1)
    return np.einsum("bh,hpn->bpn", h, np.asarray(made.kernels[-1]) * mask) + np.asarray(made.biases[-1])


@pytest.mark.parametrize("degrees", ["sequential", "random"])
def test_equals_masked_autoregressive_flow_of_tfp(float64, degrees):
    layer = randomized(layers.Autoregressive(nets.MADE((11, 9), degrees=degrees)), (6,))

    def shift_and_log_scale(x):
        shift, h = np.moveaxis(numpy_made(layer.conditioner, x), 1, 0)
        return ops.convert_to_tensor(shift), ops.convert_to_tensor(5 * np.tanh(h / 5))

    oracle = tfb.MaskedAutoregressiveFlow(shift_and_log_scale, is_constant_jacobian=False)
    x = normal(4, 6)
    z, log_det = layer.inverse_and_log_det(x)
    np.testing.assert_allclose(z, oracle.inverse(x), atol=1e-12)
    np.testing.assert_allclose(log_det, oracle.inverse_log_det_jacobian(x, event_ndims=1), atol=1e-12)
    expected = np.zeros((4, 6))
    for _ in range(6):
        shift, log_scale = (np.asarray(v) for v in shift_and_log_scale(expected))
        expected = np.asarray(z) * np.exp(log_scale) + shift
    np.testing.assert_allclose(layer.forward_and_log_det(z)[0], expected, atol=1e-12)


@pytest.mark.parametrize(
    ("n", "hidden", "degrees", "condition_size"),
    [
        (37, (50, 41), "sequential", 0),  # 37 is no multiple of the block
        (37, (90, 61, 30), "random", 3),
        (33, (7, 200), "sequential", 2),  # fewer units than dimensions, then many of one degree
        (3, (5,), "random", 0),
        (1, (4,), "sequential", 2),
    ],
)
def test_solving_by_blocks_equals_one_pass_for_each_dimension(float64, n, hidden, degrees, condition_size):
    made = nets.MADE(hidden, degrees=degrees, condition_size=condition_size, seed=5)
    layer = randomized(layers.Autoregressive(made), (n,))
    z, condition = normal(4, n), normal(4, condition_size, seed=2) if condition_size else None
    expected = np.zeros((4, n))
    for i in range(n):
        shift, h = np.moveaxis(numpy_made(made, expected, condition), 1, 0)
        expected[:, i] = (np.asarray(z) * np.exp(5 * np.tanh(h / 5)) + shift)[:, i]
    x, log_det = jit(layer, lambda z: layer.forward_and_log_det(z, condition=condition))(z)
    np.testing.assert_allclose(x, expected, atol=1e-10)
    back, inverse_log_det = layer.inverse_and_log_det(x, condition=condition)
    np.testing.assert_allclose(back, z, atol=1e-10)
    np.testing.assert_allclose(log_det, -inverse_log_det, atol=1e-10)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="jax.jit is XLA already")
@pytest.mark.parametrize("transformer", ["affine", "spline", "mixture"])
def test_sampling_is_the_same_under_xla_and_for_an_unknown_batch(transformer):
    import tensorflow as tf

    transformer = transformers.MixtureOfGaussians(3) if transformer == "mixture" else transformer
    layer = randomized(layers.Autoregressive(nets.MADE((40, 40)), transformer), (20,), scale=0.1)
    z = ops.cast(normal(5, 20), "float32")
    plain = tf.function(layer.forward_and_log_det, input_signature=[tf.TensorSpec((None, 20))])(z)
    for value, expected in zip(tf.function(layer.forward_and_log_det, jit_compile=True)(z), plain, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(layer.inverse_and_log_det(plain[0])[0], z, atol=1e-4)


@pytest.mark.parametrize("degrees", ["sequential", "random"])
def test_parameters_depend_on_the_dimensions_before_and_on_the_condition(float64, degrees):
    made = nets.MADE((60, 50), outputs=12, degrees=degrees, activation="tanh", condition_size=2)
    randomized(made, (6,))
    x, condition = np.asarray(normal(1, 6)), np.asarray(normal(1, 2, seed=2))
    base = np.asarray(made(x, condition=condition))
    for j in range(6):
        moved = np.asarray(made(x + 0.1 * np.eye(6)[j], condition=condition))
        np.testing.assert_array_equal(np.all(moved != base, axis=(0, 1)), np.arange(6) > j)
        np.testing.assert_array_equal(moved[..., : j + 1], base[..., : j + 1])
    assert np.all(np.asarray(made(x, condition=condition + 0.1)) != base)


def test_contract_of_random_degrees_with_a_condition():
    """tests/layers has the contract of the others."""
    made = partial(nets.MADE, (9, 8), degrees="random", condition_size=2)
    check_flow_layer(lambda: layers.Autoregressive(made(), transformers.Affine("sigmoid")), (4,), 2)


def test_spline_equals_that_of_tfp(float64):
    outputs = np.asarray(normal(7, 11 * 2)) * 2  # 4 bins: 4 widths, 4 heights and 3 slopes, for 2 dimensions
    theta = outputs.reshape(7, 11, 2).swapaxes(1, 2)

    def sizes(h):
        weights = np.exp(h) / np.exp(h).sum(-1, keepdims=True)
        return 6 * (1e-3 + (1 - 4e-3) * weights)

    slopes = 1e-3 + np.log1p(np.exp(theta[..., 8:] + np.log(np.exp(1 - 1e-3) - 1)))
    oracle = tfb.RationalQuadraticSpline(sizes(theta[..., :4]), sizes(theta[..., 4:8]), slopes, range_min=-3.0)
    bijector = transformers.Spline(4, 3.0).bijector(ops.convert_to_tensor(outputs))
    x = normal(7, 2) * 2
    np.testing.assert_allclose(bijector.inverse(x), oracle.forward(x), atol=1e-12)
    np.testing.assert_allclose(bijector.inverse_log_det_jacobian(x), oracle.forward_log_det_jacobian(x), atol=1e-12)


def test_spline_is_the_identity_at_zero_and_outside_and_survives_extreme_outputs():
    x = np.linspace(-6, 6, 41, dtype="float32")[:, None]
    spline = transformers.Spline(4, 3.0)
    zeros = spline.bijector(ops.zeros((41, 11)))
    np.testing.assert_allclose(zeros.inverse(x), x, atol=1e-5)
    np.testing.assert_allclose(zeros.inverse_log_det_jacobian(x), np.zeros_like(x), atol=1e-5)
    outputs = ops.cast(normal(41, 11), "float32")
    moderate, extreme = spline.bijector(2 * outputs), spline.bijector(100 * outputs)
    np.testing.assert_allclose(moderate.forward(np.asarray(moderate.inverse(x))), x, atol=1e-4)
    z = np.asarray(extreme.inverse(x))
    np.testing.assert_array_equal(z[np.abs(x) >= 3], x[np.abs(x) >= 3])
    assert np.all(np.abs(z[np.abs(x) < 3]) < 3 + 1e-5)
    for value in (extreme.inverse_log_det_jacobian(x), extreme.forward(x), extreme.forward_log_det_jacobian(x)):
        assert np.all(np.isfinite(np.asarray(value)))


def mixture_of(transformer, outputs):
    """The same mixture as a TFP distribution, from the equations in the class's docstring."""
    c = transformer.num_components
    logits, loc, log_scale = np.split(np.asarray(outputs).reshape(-1, 3 * c), 3, axis=-1)
    at_zero = transformer.bijector(ops.zeros((1, 3 * c), outputs.dtype))
    start, log_s = (np.asarray(v)[..., 0] for v in (at_zero._loc, at_zero._log_scale))
    return tfd.MixtureSameFamily(
        tfd.Categorical(logits=logits), tfd.Normal(loc + start, np.exp(log_s + 5 * np.tanh(log_scale / 5)))
    )


def test_mixture_has_the_density_of_a_mixture_of_normals(float64):
    transformer = transformers.MixtureOfGaussians(4)
    outputs = normal(1, 12)
    x = np.linspace(-60, 60, 40001)
    bijector = transformer.bijector(ops.broadcast_to(outputs, (len(x), 12)))
    column = ops.convert_to_tensor(x[:, None])
    z, log_det = bijector.inverse(column), bijector.inverse_log_det_jacobian(column)
    log_p = np.asarray(tfd.Normal(ops.zeros((), "float64"), 1.0).log_prob(z) + log_det)[:, 0]
    np.testing.assert_allclose(log_p, mixture_of(transformer, outputs).log_prob(x), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(np.sum(np.exp(log_p)) * (x[1] - x[0]), 1.0, atol=1e-9)
    at_zero = mixture_of(transformer, ops.zeros((1, 12), "float64"))
    np.testing.assert_allclose([at_zero.mean()[0], at_zero.variance()[0]], [0.0, 1.0], atol=1e-9)


def test_mixture_is_inverted_in_both_far_tails_in_float32():
    bijector = transformers.MixtureOfGaussians(5).bijector(ops.cast(normal(9, 15) * 4, "float32"))
    z = ops.convert_to_tensor(np.linspace(-30, 30, 9, dtype="float32")[:, None])
    x = ops.convert_to_tensor(np.asarray(bijector.forward(z)))
    np.testing.assert_allclose(bijector.inverse(x), z, rtol=1e-3, atol=1e-3)
    assert np.all(np.isfinite(np.asarray(bijector.inverse_log_det_jacobian(x))))


def test_score_of_a_mixture_has_the_gradient_of_its_distribution_function(float64):
    transformer = transformers.MixtureOfGaussians(3)
    outputs, x = normal(4, 9 * 2), normal(4, 2, seed=2) * 3

    def score(x, outputs):
        return (transformer.bijector(outputs).inverse(x),)

    def by_autodiff(x, outputs):
        bijector = transformer.bijector(outputs)
        t = (x[:, None] - bijector._loc) / ops.exp(bijector._log_scale)
        return (2**0.5 * ops.erfinv(ops.sum(ops.exp(bijector._log_weights) * ops.erf(t / 2**0.5), axis=1)),)

    np.testing.assert_allclose(score(x, outputs)[0], by_autodiff(x, outputs)[0], atol=1e-9)
    found, expected = (autodiff.vjp(f, (x, outputs), (normal(4, 2, seed=3),)) for f in (score, by_autodiff))
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("averaged", [False, True])
def test_masked_weights_are_zero_whatever_is_assigned_and_stay_so(averaged):
    x = ops.cast(normal(32, 5), "float32")
    flow = Flow(randomized(layers.Autoregressive(nets.MADE((12, 12))), (5,)), (5,), dequantizer=None)
    made, sgd = flow.transform.conditioner, keras.optimizers.SGD(0.1, momentum=0.9, use_ema=True, clipnorm=1.0)
    flow.compile(sgd if averaged else "adam")
    flow.fit(x, batch_size=16, verbose=0)
    gradients = autodiff.gradients(lambda: ops.mean(flow(x)), made.kernels)
    for kernel, gradient, low, high in zip(made.kernels, gradients, made._degrees, made._degrees[1:], strict=False):
        mask = np.broadcast_to(low.reshape(-1, *(1,) * (kernel.ndim - 1)) <= high, kernel.shape)
        np.testing.assert_array_equal(ops.convert_to_numpy(kernel) != 0, mask)
        assert np.any(ops.convert_to_numpy(gradient)[mask])
        assert not np.any(ops.convert_to_numpy(gradient)[~mask])


def test_a_conditional_maf_learns_what_the_labels_say():
    """Two labels with means -2 and 2: without the condition the density would be far below."""
    rng = np.random.default_rng(0)
    condition = np.eye(2, dtype="float32")[rng.integers(2, size=512)]
    x = (rng.normal(size=(512, 1)) * 0.1 + condition @ [[-2.0], [2.0]]).astype("float32")
    made = nets.MADE((16,), condition_size=2)
    flow = Flow(layers.Autoregressive(made), (1,), dequantizer=None, condition_size=2)
    flow.compile(keras.optimizers.Adam(0.03))
    flow.fit({"image": x, "condition": condition}, epochs=40, batch_size=128, verbose=0)
    entropy = 0.5 * np.log(2 * np.pi * np.e * 0.01)
    assert np.mean(flow.log_prob(x, condition)) > -entropy - 0.2


def made_weights(n, condition_size=0, parameters=2):
    """Two hidden layers of 1024: kernels, biases and, in the first layer, the condition's kernel."""
    return (n + condition_size + 1) * 1024 + 1025 * 1024 + 1025 * parameters * n


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # a normalisation of a dimension has 4 numbers: gamma, beta, mean and variance
        ("maf_mnist_conditional_mog", 5 * (made_weights(784, 10) + 4 * 784) + made_weights(784, 10, 30)),
        ("maf_cifar10", 10 * (made_weights(3072) + 4 * 3072)),
    ],
)
def test_recipes_have_the_sizes_of_the_paper(name, expected):
    entry = zoo.recipe(name)
    classes = entry.data.num_classes if entry.model.conditional else 0
    transform = MODELS["maf"](entry.data.shape, entry.data.num_values, classes or 0, **entry.model.arguments)
    with keras.StatelessScope(initialize_variables=False):  # shapes without values
        transform.build((None, *entry.data.shape))
    assert transform.count_params() == expected
