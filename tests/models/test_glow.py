"""Glow: its layers against oracles, data-dependent initialisation, the paper's number of weights."""

import keras
import numpy as np
import pytest
import scipy.linalg
from keras import ops

from tfflows import Flow, layers, models, nets
from tfflows._backend import tfb
from tfflows.data.digits import load_digits


def tiny(**kwargs):
    arguments = {"num_levels": 2, "num_steps": 2, "width": 8, **kwargs}
    return Flow(models.glow((8, 8, 1), 17, **arguments), (8, 8, 1), num_values=17)


@pytest.mark.parametrize("lu", [False, True])
def test_conv1x1_multiplies_by_a_rotation_and_knows_its_determinant(lu):
    layer, x = layers.Conv1x1(lu=lu, seed=1), np.random.RandomState(0).randn(2, 3, 2, 5).astype("float32")
    z, log_det = map(ops.convert_to_numpy, layer(x))
    np.testing.assert_allclose(log_det, 0.0, atol=1e-5)
    matrix = np.linalg.lstsq(x.reshape(-1, 5), z.reshape(-1, 5), rcond=None)[0].T
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(5), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(matrix), 1.0, atol=1e-5)

    for weight in layer.trainable_weights:
        weight.assign(weight + np.random.RandomState(2).randn(*weight.shape) / 4)
    z, log_det = map(ops.convert_to_numpy, layer(x))
    matrix = np.linalg.lstsq(x.reshape(-1, 5), z.reshape(-1, 5), rcond=None)[0].T
    np.testing.assert_allclose(log_det, 6 * np.linalg.slogdet(matrix)[1], rtol=1e-5)  # 3x2 pixels


def test_conv1x1_in_lu_form_equals_tfp():
    layer, x = layers.Conv1x1(lu=True, seed=3), np.random.RandomState(0).randn(4, 2, 2, 6).astype("float32")
    z, log_det = layer(x)
    rotation = layers.Conv1x1(seed=3)
    rotation.build((None, 6))
    lower_upper, pivots = scipy.linalg.lu_factor(ops.convert_to_numpy(rotation.matrix))
    permutation = np.arange(6)
    for row, pivot in enumerate(pivots):
        permutation[[row, pivot]] = permutation[[pivot, row]]
    oracle = tfb.ScaleMatvecLU(lower_upper, permutation.astype("int32"))
    np.testing.assert_allclose(z, oracle.forward(x), atol=1e-5)
    oracle_log_det = 4 * ops.convert_to_numpy(oracle.forward_log_det_jacobian(x, event_ndims=1)).flat[0]
    np.testing.assert_allclose(log_det, np.full(4, oracle_log_det), atol=1e-4)


def test_actnorm_normalises_the_first_batch():
    x = np.random.RandomState(0).randn(50, 3, 3, 4) * [0.01, 1, 10, 0] + [5, 0, -3, 7]
    layer = layers.ActNorm()
    layer.build((None, 3, 3, 4))
    np.testing.assert_allclose(layer(x.astype("float32"))[0], x.astype("float32"))
    layer.initialize(x.astype("float32"))
    z = ops.convert_to_numpy(layer(x.astype("float32"))[0])
    np.testing.assert_allclose(z.mean((0, 1, 2)), 0.0, atol=1e-3)
    np.testing.assert_allclose(z.std((0, 1, 2)), [1, 1, 1, 0], atol=1e-3)  # the last channel is constant


def test_adapting_a_flow_normalises_before_every_coupling_and_inside_its_network():
    images, flow = load_digits("train")["image"][:128], tiny()
    flow.adapt(images)
    level = flow.transform.layers[0].layers[-1]  # Multiscale's level nearest to the data
    x = ops.convert_to_tensor(images.astype("float32") + np.random.RandomState(0).rand(*images.shape))
    x, _ = flow.transform.layers[1].inverse_and_log_det(ops.cast(x, "float32"))
    squeeze, *steps = level.layers[::-1]
    h, _ = squeeze(x)
    for layer in steps:
        if isinstance(layer, layers.Coupling) and layer.data_dependent:
            (convolution, actnorm), _ = layer.conditioner.hidden
            hidden = (convolution(h[..., :2]) - actnorm.shift) * ops.exp(-actnorm.log_scale)
            hidden = ops.convert_to_numpy(hidden)
            np.testing.assert_allclose(hidden.mean((0, 1, 2)), 0.0, atol=0.1)  # other noise than adapt's
            np.testing.assert_allclose(hidden.std((0, 1, 2)), 1.0, atol=0.1)
        h, _ = layer(h)
        if isinstance(layer, layers.ActNorm):
            np.testing.assert_allclose(ops.std(h, axis=(0, 1, 2)), 1.0, atol=0.05)


@pytest.fixture(scope="module")
def fitted():
    flow = tiny()
    flow.compile("adam")
    flow.fit(load_digits("train")["image"][:64], batch_size=32, verbose=0)
    return flow


def fit_without_learning(flow):
    """At learning rate 0 only an initialisation can change a weight; blank images would change the shifts."""
    flow.compile(keras.optimizers.SGD(0.0))
    flow.fit(np.zeros((32, 8, 8, 1), "uint8"), batch_size=32, verbose=0)
    return [ops.convert_to_numpy(weight) for weight in flow.trainable_weights]


@pytest.mark.parametrize("form", ["weights", "model"])
def test_training_goes_on_after_loading_without_a_second_initialisation(tmp_path, fitted, form):
    if form == "model":
        fitted.save(tmp_path / "flow.keras")
        loaded = keras.saving.load_model(tmp_path / "flow.keras")
    else:
        fitted.save_weights(tmp_path / "flow.weights.h5")
        loaded = tiny()
        loaded.load_weights(tmp_path / "flow.weights.h5")
    for weight, after in zip(fitted.trainable_weights, fit_without_learning(loaded), strict=True):
        np.testing.assert_array_equal(weight, after, err_msg=weight.path)


def test_a_new_flow_is_initialised_by_fit():
    """The control of the test above."""
    flow = tiny()
    before = [ops.convert_to_numpy(weight) for weight in flow.trainable_weights]
    changed = [np.any(b != a) for b, a in zip(before, fit_without_learning(flow), strict=True)]
    actnorms = ["act_norm" in weight.path for weight in flow.trainable_weights]
    assert any(actnorms)
    assert changed == actnorms


def test_the_prior_of_a_split_acts_on_the_half_that_is_factored_out():
    """Which is the end of z: a shift of the prior moves it and nothing else."""
    flow = tiny()
    x = np.random.RandomState(0).uniform(0, 17, (2, 8, 8, 1)).astype("float32")
    before = ops.convert_to_numpy(flow.transform(x)[0])
    prior = flow.transform.layers[0].layers[1].layers[0]
    assert isinstance(prior.conditioner, nets.ZeroConv2D)
    prior.conditioner.bias.assign([3.0, 3.0, 0.0, 0.0])  # the shifts of two channels, then their log-scales
    moved = ops.convert_to_numpy(flow.transform(x)[0]) - before
    np.testing.assert_allclose(moved, np.repeat([[0.0, -3.0]], 32, axis=1).repeat(2, axis=0), atol=1e-5)


def weights_of_the_paper(channels, num_levels, num_steps, width):
    """Counted from Kingma and Dhariwal 2018, figure 2 and section 3, for affine couplings."""
    total = 0
    for level in range(num_levels):
        channels *= 4  # squeeze
        half = channels // 2
        actnorm, conv1x1 = 2 * channels, channels**2
        hidden = 9 * half * width + 2 * width + width * width + 2 * width  # two convolutions, two actnorms
        zero_conv = 9 * width * channels + 2 * channels  # shift and scale of a half; bias and log-scale
        total += num_steps * (actnorm + conv1x1 + hidden + zero_conv)
        if level < num_levels - 1:
            total += 9 * half * channels + 2 * channels  # the prior of the half factored out, given the other
            channels = half
        else:
            total += 2 * channels  # the learned prior at the top
    return total


@pytest.mark.backend_free
def test_the_glow_of_cifar10_has_the_papers_44_million_weights():
    transform = models.glow((32, 32, 3), 256, num_levels=3, num_steps=32, width=512)
    with keras.StatelessScope(initialize_variables=False):  # shapes are enough
        transform.build((None, 32, 32, 3))
    assert transform.count_params() == weights_of_the_paper(3, 3, 32, 512) == 44_052_816


@pytest.mark.parametrize("lu", [False, True])
def test_both_forms_and_couplings_count_the_same_but_for_the_scales(lu):
    affine, additive = tiny(lu=lu), tiny(lu=lu, coupling="additive")
    count = sum(int(np.prod(weight.shape)) for weight in affine.trainable_weights)
    assert count == weights_of_the_paper(1, 2, 2, 8)
    # Half of each zero convolution predicts scales: in each of 2 steps (9 * 8 + 2) C/2 weights, C = 4, 8.
    scales = 2 * (9 * 8 + 2) * (2 + 4)
    assert sum(int(np.prod(weight.shape)) for weight in additive.trainable_weights) == count - scales


@pytest.mark.parametrize("num_bins", [4, 8])
def test_spline_couplings_ask_for_three_numbers_a_bin_and_start_as_the_identity(num_bins):
    affine, spline = tiny(), tiny(coupling="spline", num_bins=num_bins, bound=2.0)
    count, counted = (sum(int(np.prod(w.shape)) for w in flow.trainable_weights) for flow in (affine, spline))
    # In each of 2 steps: (9 * 8 + 2) C/2 weights for each number of a transformed value, C = 4, 8.
    assert counted - count == 2 * (9 * 8 + 2) * (2 + 4) * (3 * num_bins - 1 - 2)
    coupling = spline.transform.layers[0].layers[1].layers[-4]  # the first step's in the level nearest to the data
    assert (coupling.transformer.num_bins, coupling.transformer.bound) == (num_bins, 2.0)
    h = np.random.RandomState(0).randn(3, 4, 4, 4).astype("float32")
    z, log_det = coupling(h)
    np.testing.assert_allclose(z, h, atol=1e-5)
    np.testing.assert_allclose(log_det, 0.0, atol=1e-4)


def test_mixture_couplings_ask_for_three_numbers_a_component():
    affine, mixture = tiny(), tiny(coupling="mixture", num_components=5)
    count, counted = (sum(int(np.prod(w.shape)) for w in flow.trainable_weights) for flow in (affine, mixture))
    # In each of 2 steps: (9 * 8 + 2) C/2 weights for each number of a transformed value, C = 4, 8.
    assert counted - count == 2 * (9 * 8 + 2) * (2 + 4) * (3 * 5 - 2)


def test_residual_networks_have_the_blocks_and_the_width_that_are_asked_for():
    flow = tiny(network="residual", num_blocks=3, width=5)
    networks = [layer.conditioner for layer in flow.transform._flatten_layers() if isinstance(layer, layers.Coupling)]
    residual = [net for net in networks if isinstance(net, nets.ConvResNet)]
    assert [(net.filters, net.num_blocks) for net in residual] == [(5, 3)] * 4  # 2 levels of 2 steps


def test_temperature_zero_gives_one_image_and_a_class_changes_it():
    transform = models.glow((8, 8, 1), 17, 10, num_levels=2, num_steps=1, width=8)
    flow = Flow(transform, (8, 8, 1), num_values=17, num_classes=10)
    data = load_digits("train")
    flow.compile(keras.optimizers.Adam(1e-2))
    flow.fit({"image": data["image"][:64], "label": data["label"][:64]}, batch_size=32, epochs=2, verbose=0)
    zero, one = (flow.sample(2, temperature=0.0, seed=k, condition=k) for k in range(2))
    np.testing.assert_array_equal(zero[0], zero[1])
    assert np.any(zero[0] != one[0])


def test_a_wrong_coupling_or_network_is_one_sentence():
    expected = r"^glow got coupling='afine': use 'affine', 'additive', 'spline' or 'mixture'\.$"
    with pytest.raises(ValueError, match=expected):
        models.glow((8, 8, 1), coupling="afine")
    with pytest.raises(ValueError, match=r"^glow got network='dense': use 'conv' or 'residual'\.$"):
        models.glow((8, 8, 1), network="dense")
