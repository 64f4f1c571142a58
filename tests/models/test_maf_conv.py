"""Masked convolutions with discrete conditionals: against sums over all images, the naive sampler, and the contract."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from tfflows import Flow, check_flow_layer, layers, models, nets, transformers
from tfflows._backend import jit, tfd
from tfflows._backend.autodiff import gradients
from tfflows.errors import InputError
from tfflows.export import export
from tfflows.transformers.base import parameters_last

SMALL = {"width": 4, "num_blocks": 2, "num_components": 2}


def small_flow(shape, num_values, scale=0.5, num_classes=None, **arguments):
    """A flow whose weights are all random."""
    transform = models.maf_conv(shape, num_values, num_classes or 0, **{**SMALL, **arguments})
    flow = Flow(transform, shape, num_values=num_values, num_classes=num_classes)
    rng = np.random.default_rng(0)
    for weight in flow.trainable_weights:
        weight.assign(scale * rng.normal(size=weight.shape))
    return flow


def test_probabilities_of_all_images_sum_to_1_and_do_not_depend_on_the_noise():
    """A world of 16 images."""
    flow = small_flow((2, 2, 1), 2, scale=1.0)
    images = np.array(list(itertools.product(range(2), repeat=4)), "uint8").reshape(-1, 2, 2, 1)
    log_p = np.asarray(flow.log_prob(images), "float64")
    np.testing.assert_allclose(np.sum(np.exp(log_p)), 1.0, atol=1e-6)
    assert np.ptp(log_p) > 1
    for u in (0.0, 0.3, 0.999):
        np.testing.assert_allclose(flow.log_prob(images + np.float32(u), dequantize=False), log_p, atol=1e-4)
    # Samples are drawn with these probabilities: within five standard errors of 4,000 draws.
    drawn = flow.sample(4000, seed=0).reshape(-1, 4) @ [8, 4, 2, 1]
    share, p = np.bincount(drawn, minlength=16) / 4000, np.exp(log_p)
    assert np.all(np.abs(share - p) < 5 * np.sqrt(p * (1 - p) / 4000) + 1e-9)


@pytest.mark.backend_free
def test_a_mixture_has_the_masses_of_discretised_logistics():
    transformer = transformers.DiscretizedLogistics(5, 3)
    outputs = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(5, 9)).astype("float32"))
    bijector = transformer.bijector(outputs)
    logits, loc, log_scale = np.split(np.asarray(parameters_last(outputs, 9), "float64")[:, 0], 3, axis=-1)
    loc = 5 * (np.array([1 / 6, 3 / 6, 5 / 6]) + loc / 2)
    scale = 5 / 6 * np.exp(7 * np.tanh(log_scale / 7))
    edges = 1 / (1 + np.exp(-(np.arange(1, 5)[:, None, None] - loc) / scale))  # the CDF at 1, 2, 3, 4
    cdf = np.concatenate([0 * edges[:1], edges, 0 * edges[:1] + 1])
    weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = np.sum(weights * (cdf[1:] - cdf[:-1]), axis=-1)  # [value, row]
    normal = tfd.Normal(np.float32(0), np.float32(1))
    for k in range(5):
        for u in (0.0, 0.25, 0.875):
            x = ops.full((5, 1), k + u, "float32")
            z, log_det = bijector.inverse(x), bijector.inverse_log_det_jacobian(x, event_ndims=0)
            np.testing.assert_allclose(normal.log_prob(z) + log_det, np.log(expected[k])[:, None], atol=1e-5)
            below = expected[:k].sum(0) + u * expected[k]
            np.testing.assert_allclose(normal.cdf(z), below[:, None], atol=1e-6)
            np.testing.assert_allclose(bijector.forward(np.asarray(z)), x, atol=1e-4)
    outside = bijector.inverse_log_det_jacobian(ops.full((5, 1), 5.0, "float32"), event_ndims=0)
    assert np.all(np.asarray(outside) == -np.inf)


@pytest.mark.backend_free
def test_extreme_parameters_give_finite_densities_gradients_and_samples():
    outputs = 200 * np.random.default_rng(0).normal(size=(64, 15)).astype("float32")
    transformer = transformers.DiscretizedLogistics(256, 5)
    x = ops.convert_to_tensor(np.random.default_rng(1).uniform(0, 256, size=(64, 1)).astype("float32"))
    weight = keras.Variable(outputs)

    def loss():
        z, log_det = transformer(x, ops.convert_to_tensor(weight))
        return ops.sum(-0.5 * z**2 + log_det)

    assert np.isfinite(loss())
    assert np.all(np.isfinite(np.asarray(gradients(loss, [weight])[0])))
    z = ops.convert_to_tensor(np.linspace(-12, 12, 64, dtype="float32")[:, None])
    samples = np.asarray(transformer.bijector(ops.convert_to_tensor(outputs)).forward(z))
    assert np.all((samples >= 0) & (samples < 256))


@pytest.mark.backend_free
@pytest.mark.parametrize("shape", [(3, 4, 1), (2, 2, 3)], ids=["grey", "colour"])
def test_outputs_see_exactly_the_integers_before(shape):
    """With two columns on either side of a pixel and all rows above within reach."""
    net = nets.PixelCNN(shape, 8, width=6, num_blocks=2)
    n = int(np.prod(shape))
    net.build_for((None, n), 2 * n)
    rng = np.random.default_rng(0)
    for weight in net.weights:
        weight.assign(rng.normal(size=weight.shape))
    x = rng.integers(0, 8, size=(1, n)).astype("float32")
    base = np.asarray(net(ops.convert_to_tensor(x)))
    np.testing.assert_array_equal(net(ops.convert_to_tensor(x + np.float32(0.9))), base)
    for j in range(n):
        moved = x.copy()
        moved[0, j] = (x[0, j] + 3) % 8
        changed = np.any(np.asarray(net(ops.convert_to_tensor(moved))) != base, axis=(0, 1))
        np.testing.assert_array_equal(changed, np.arange(n) > j)


@pytest.mark.parametrize(
    ("kernel_size", "condition_size"), [(3, 2), pytest.param(5, 0, marks=pytest.mark.backend_free)]
)
def test_sampling_with_caches_equals_one_pass_for_each_pixel(kernel_size, condition_size):
    shape, num_values = (5, 6, 1), 7
    flow = small_flow(shape, num_values, num_classes=condition_size or None, kernel_size=kernel_size)
    autoregressive = flow.transform.layers[0]
    z = np.random.default_rng(1).normal(size=(3, 30)).astype("float32")
    condition = ops.convert_to_tensor(np.eye(2, dtype="float32")[[0, 1, 1]]) if condition_size else None
    expected = np.zeros((3, 30), "float32")
    parameters = 30 * autoregressive.transformer.num_parameters
    one_pass = jit(
        flow,
        lambda z, x: autoregressive.transformer.bijector(
            ops.reshape(autoregressive.conditioner(x, condition=condition), (-1, parameters))
        ).forward(z),
    )
    for i in range(30):
        expected[:, i] = np.asarray(one_pass(ops.convert_to_tensor(z), ops.convert_to_tensor(expected)))[:, i]
    solve = jit(flow, lambda z: autoregressive.forward_and_log_det(z, condition=condition))
    x, log_det = solve(ops.convert_to_tensor(z))
    np.testing.assert_array_equal(np.floor(x), np.floor(expected))
    np.testing.assert_allclose(x, expected, atol=1e-3)
    back, inverse_log_det = autoregressive.inverse_and_log_det(x, condition=condition)
    np.testing.assert_allclose(back, z, atol=2e-3)
    np.testing.assert_allclose(log_det, -np.asarray(inverse_log_det), atol=2e-3)


@pytest.mark.backend_free
def test_a_saved_model_draws_the_same_images(tmp_path):
    import tensorflow as tf

    flow = small_flow((4, 4, 1), 8, num_blocks=1)
    export(flow, tmp_path)
    loaded = tf.saved_model.load(tmp_path).signatures
    seed, temperature = np.arange(3, dtype="int32"), np.array([1, 1, 0.5], "float32")
    drawn = loaded["sample"](seed=tf.constant(seed), temperature=tf.constant(temperature))["images"].numpy()
    np.testing.assert_array_equal(drawn, flow.sample_from_seeds(seed, temperature))
    np.testing.assert_allclose(loaded["log_prob"](images=drawn)["log_prob"], flow.log_prob(drawn), rtol=1e-5)
    np.testing.assert_array_equal(loaded["decode"](**loaded["encode"](images=drawn))["images"], drawn)


def test_contract():
    check_flow_layer(lambda: models.maf_conv((2, 2, 1), 4, **SMALL), (2, 2, 1))


def test_bad_arguments_are_named():
    with pytest.raises(InputError, match="kernel_size=4"):
        nets.PixelCNN((4, 4, 1), kernel_size=4)
    with pytest.raises(InputError, match="num_values=1"):
        transformers.DiscretizedLogistics(1)
    with pytest.raises(InputError, match="takes x \\[B, 16\\]"):
        layers.Autoregressive(nets.PixelCNN((4, 4, 1))).build((None, 15))


def test_mixed_precision_rounds_the_convolutions_alone():
    """Outside of a graph too, where Keras casts the weights of a network to the policy's type if they let it."""
    keras.utils.set_random_seed(0)
    policy = keras.dtype_policies.DTypePolicy("mixed_bfloat16")
    net = nets.PixelCNN((4, 4, 1), 5, width=4, num_blocks=1, dtype=policy)
    net.build_for((None, 16), 48)
    for weight in net.weights:
        weight.assign(keras.random.normal(weight.shape, seed=weight.shape[-1]))
    without = [weight for weight in net.weights if "position" not in weight.name and "last" not in weight.name]
    for weight in without:  # of which the outputs are positions and the last layer, in float32 to the last digit
        weight.assign(ops.zeros(weight.shape))
    features = np.maximum(ops.convert_to_numpy(net.horizontal_positions).reshape(16, 4), 0)
    expected = features @ ops.convert_to_numpy(net.last_kernel) + ops.convert_to_numpy(net.last_bias)
    for run in (net, jit(net, net)):
        outputs = ops.convert_to_numpy(run(np.zeros((1, 16), "float32")))
        np.testing.assert_allclose(outputs[0], expected.T, rtol=1e-5, atol=1e-6)
