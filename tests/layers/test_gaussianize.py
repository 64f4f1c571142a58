"""Gaussianize: the density of each value is its mass, both ends keep their digits, and data come out normal."""

import numpy as np
import pytest
import scipy.stats
from keras import ops

from tfflows import Flow, layers, models
from tfflows.data.digits import load_digits

EVENT = (2, 2, 1)


def built(logits=None, **kwargs):
    layer = layers.Gaussianize(**kwargs)
    layer.build((None, *EVENT))
    if logits is not None:
        layer.logits.assign(np.broadcast_to(logits, layer.logits.shape))
    return layer


@pytest.mark.parametrize("per_pixel", [False, True])
def test_z_and_its_density_are_those_of_the_discrete_distribution(per_pixel):
    """Against SciPy in float64: z is the quantile of the CDF, and x has the density p_k all over [k, k + 1)."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4 if per_pixel else 1, 17))
    layer = built(logits, num_values=17, per_pixel=per_pixel)
    masses = np.broadcast_to(scipy.special.softmax(logits, axis=-1), (4, 17))
    values, u = rng.integers(0, 17, (200, 4)), rng.integers(0, 2**15, (200, 4)) / 2**15
    x = (values + u).reshape(-1, *EVENT).astype("float32")
    z, log_det = map(ops.convert_to_numpy, layer.inverse_and_log_det(ops.convert_to_tensor(x)))
    mass = masses[np.arange(4), values]
    cdf = np.cumsum(masses, axis=-1)[np.arange(4), values] - mass + u * mass
    expected = scipy.stats.norm.ppf(cdf)
    np.testing.assert_allclose(z.reshape(-1, 4), expected, atol=2e-5)
    log_density = scipy.stats.norm.logpdf(z.reshape(-1, 4).astype("float64")).sum(axis=1) + log_det
    np.testing.assert_allclose(log_density, np.log(mass).sum(axis=1), atol=1e-4)
    back = ops.convert_to_numpy(layer.forward_and_log_det(ops.convert_to_tensor(z))[0])
    np.testing.assert_allclose(back, x, atol=1e-3)


def test_the_density_integrates_to_the_mass_over_each_value():
    """In z, where the layer is one more map of the line: Phi(z(k + 1)) - Phi(z(k)) is the mass of k."""
    logits = np.random.default_rng(1).normal(size=(1, 17))
    layer = built(logits, num_values=17)
    edges = np.arange(17, dtype="float32").reshape(-1, 1, 1, 1) * np.ones((1, *EVENT), "float32")
    z = ops.convert_to_numpy(layer.inverse_and_log_det(ops.convert_to_tensor(edges))[0])[:, 0, 0, 0]
    masses = np.diff(np.append(scipy.stats.norm.cdf(z.astype("float64")), 1.0))
    np.testing.assert_allclose(masses, scipy.special.softmax(logits[0]), atol=1e-6)


def test_both_ends_of_the_range_keep_their_digits_in_float32():
    """With a mass of 1e-6 at either end; 1 - F would have one digit there, or none."""
    logits = np.full(256, np.log((1 - 2e-6) / 254))
    logits[[0, 255]] = np.log(1e-6)
    layer = built(logits, num_values=256)
    u = np.array([2.0**-16, 2.0**-10, 0.25, 0.75], "float32")
    for x, tail in ((u, 1e-6 * u.astype("float64")), (256 - u, 1e-6 * u.astype("float64"))):
        z, log_det = layer.inverse_and_log_det(ops.convert_to_tensor(np.tile(x[:, None, None, None], (1, *EVENT))))
        z = ops.convert_to_numpy(z)[:, 0, 0, 0]
        np.testing.assert_allclose(np.abs(z), -scipy.stats.norm.ppf(tail), rtol=1e-5)
        assert np.all(np.isfinite(log_det))
        back, _ = layer.forward_and_log_det(ops.convert_to_tensor(np.tile(z[:, None, None, None], (1, *EVENT))))
        np.testing.assert_allclose(ops.convert_to_numpy(back)[:, 0, 0, 0], x, atol=1e-4)


def test_ends_beyond_and_nan():
    layer = built(num_values=17)
    x = np.full((6, *EVENT), 3.5, "float32")
    x[:, 0, 0, 0] = [0.0, np.nextafter(np.float32(17), np.float32(0)), -1e-3, 17.0, 1e9, np.nan]
    z, log_det = map(ops.convert_to_numpy, layer.inverse_and_log_det(ops.convert_to_tensor(x)))
    assert np.all(np.isfinite(z[:5]))
    np.testing.assert_array_equal(np.isfinite(log_det), [True, True, False, False, False, False])
    np.testing.assert_array_equal(log_det[2:5], -np.inf)
    assert np.isnan(z[5, 0, 0, 0])
    assert np.isnan(log_det[5])
    z = np.linspace(-40, 40, 8, dtype="float32").reshape(2, *EVENT)  # farther out than any tail that float32 holds
    x, log_det = map(ops.convert_to_numpy, layer.forward_and_log_det(ops.convert_to_tensor(z)))
    assert np.all((x >= 0) & (x < 17))
    assert np.all(np.isfinite(log_det))
    assert np.all(np.isfinite(layer.inverse_and_log_det(ops.convert_to_tensor(x))[0]))


@pytest.mark.parametrize(("per_pixel", "tolerance"), [(False, 0.01), (True, 0.1)])
def test_initialised_data_come_out_standard_normal(per_pixel, tolerance):
    """All pixels together, exactly but for the counts added; each pixel by itself, but for the shrinkage."""
    images = load_digits("train")["image"]
    x = images + np.random.default_rng(0).random(images.shape)
    layer = layers.Gaussianize(17, per_pixel)
    layer.build((None, 8, 8, 1))
    layer.initialize(ops.convert_to_tensor(x.astype("float32")))
    z, log_det = map(ops.convert_to_numpy, layer.inverse_and_log_det(ops.convert_to_tensor(x.astype("float32"))))
    assert scipy.stats.kstest(z.ravel(), "norm").statistic < 0.01
    statistics = [scipy.stats.kstest(column, "norm").statistic for column in z.reshape(-1, 64).T]
    assert np.max(statistics) < tolerance or not per_pixel
    # Of independent pixels with the layer's masses the density is the best one: their entropy, in nats.
    density = scipy.stats.norm.logpdf(z).sum(axis=(1, 2, 3)) + log_det
    counts = [np.bincount(c, minlength=17) for c in (images.reshape(-1, 64).T if per_pixel else [images.ravel()])]
    entropy = 64 * np.mean([scipy.stats.entropy(c) for c in counts])
    assert abs(-density.mean() - entropy) < 0.01 * entropy


def test_a_value_that_the_first_batch_lacks_keeps_a_mass():
    layer = built(num_values=17)
    layer.initialize(ops.zeros((4, *EVENT)))
    masses = ops.convert_to_numpy(ops.softmax(layer.logits))[0]
    np.testing.assert_allclose(masses, np.append(17, np.ones(16)) / 33, rtol=1e-5)


def test_adapt_counts_the_values_of_many_images_and_actnorm_still_sees_one_batch():
    """A pixel's own masses from 64 images are mostly guesses; actnorm on 10,000 images would need too much memory."""
    images = load_digits("train")["image"]
    own = layers.Gaussianize(17, per_pixel=True)
    seen = []

    class Watched(layers.ActNorm):
        def initialize(self, x, condition=None):
            seen.append(len(x))
            super().initialize(x, condition)

    flow = Flow(layers.Chain([Watched(), own]), (8, 8, 1), num_values=17)
    flow.adapt(images)
    counts = np.stack([np.bincount(pixel, minlength=17) for pixel in images.reshape(-1, 64).T])
    marginal = (counts.sum(axis=0) + 1) / (counts.sum() + 17)
    expected = (counts + 10 * marginal) / (len(images) + 10)
    np.testing.assert_allclose(ops.convert_to_numpy(ops.softmax(own.logits)), expected, rtol=1e-5)
    assert seen == [256]


def test_learned_masses_learn_and_fixed_ones_stay():
    images = load_digits("train")["image"][:64]
    for learned in (True, False):
        layer, scale = layers.Gaussianize(17, learned=learned), layers.DiagonalScale()  # which learns in both cases
        flow = Flow(layers.Chain([scale, layer]), (8, 8, 1), num_values=17)
        flow.adapt(images)
        before = ops.convert_to_numpy(layer.logits)
        flow.compile("adam")
        flow.fit(images, batch_size=32, verbose=0)
        assert np.any(before != ops.convert_to_numpy(layer.logits)) == learned


@pytest.mark.parametrize("make", [models.glow, models.maf, models.nice, models.realnvp])
def test_rescale_chooses_the_layer_at_the_data_end(make):
    def data_end(**arguments):
        return make((8, 8, 1), 17, **arguments).layers[-1]

    if make in (models.glow, models.nice):
        assert isinstance(data_end(), layers.Rescale)
        assert isinstance(data_end(alpha=0.01), layers.Logit)
        with pytest.raises(ValueError, match=r"^rescale is 'logit' and alpha is missing: .*\.$"):
            make((8, 8, 1), rescale="logit")
    else:
        assert isinstance(data_end(), layers.Logit)
    assert isinstance(data_end(rescale="linear"), layers.Rescale)
    assert data_end(rescale="logit", alpha=0.01).alpha == 0.01
    gaussianize = data_end(rescale="gaussianize", per_pixel=True)
    assert (gaussianize.num_values, gaussianize.per_pixel, gaussianize.learned) == (17, True, True)
    with pytest.raises(ValueError, match=r"^per_pixel is true and rescale is 'logit': .*\.$"):
        make((8, 8, 1), alpha=0.01, rescale="logit", per_pixel=True)
    with pytest.raises(ValueError, match=r"^rescale is 'probit': use 'linear', 'logit' or 'gaussianize'\.$"):
        make((8, 8, 1), rescale="probit")


def test_too_few_values_are_one_sentence():
    with pytest.raises(ValueError, match=r"^Gaussianize got num_values=1: it needs at least 2\.$"):
        layers.Gaussianize(1)
