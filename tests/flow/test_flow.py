"""Flow: densities with known answers, sampling, the ways of Keras, and what it refuses."""

import keras
import numpy as np
import pytest
from keras import ops

from tfflows import Flow, layers, models, nets
from tfflows._backend import jit, noise, tfb, tfd
from tfflows.flow import BaseDistribution
from tfflows.flow.check import double_precision

SEED = np.array([0, 1], "int32" if keras.backend.backend() == "tensorflow" else "uint32")  # a seed of TFP
IMAGES = np.random.RandomState(0).randint(0, 17, (40, 4, 4, 1)).astype("uint8")


def small(**kwargs):
    keras.utils.set_random_seed(0)
    classes = kwargs.get("num_classes") or 0
    couplings = [
        layers.Coupling(nets.ConvResNet(4, 1, l2=1e-3), mask, flip, condition_size=classes)
        for mask, flip in (("halves", True), ("halves", False), ("checkerboard", True))
    ]
    transform = layers.Chain([*couplings[:2], layers.Squeeze(), couplings[2], layers.Logit(17)])
    return Flow(transform, (4, 4, 1), num_values=17, **kwargs)


def randomized(flow, scale=0.2):
    rng = np.random.RandomState(1)
    for weight in flow.trainable_weights:
        weight.assign(weight + scale * rng.normal(size=weight.shape))
    return flow


@pytest.fixture(scope="module")
def flow():
    return randomized(small())


def test_bits_per_dim_of_a_known_density():
    """x = 16 sigmoid(z), z logistic, is uniform on [0, 16): 4 bits/dim whatever the noise; the unit rule."""

    class Sigmoid(layers.BijectorLayer):
        def bijector(self):
            return tfb.Chain([tfb.Scale(16.0), tfb.Sigmoid()])

    flow = Flow(Sigmoid(), (4, 4, 1), num_values=16, base="logistic")
    np.testing.assert_allclose(flow.bits_per_dim(IMAGES % 16), 4.0, atol=1e-5)
    np.testing.assert_allclose(flow.bits_per_dim(IMAGES % 16, num_samples=5), 4.0, atol=1e-5)


def test_rescaling_changes_no_figure():
    """A normal on pixels of [0, 256) has the same bits/dim through Rescale: log 256 is in the log-det."""
    pixels = np.arange(256, dtype="uint8").reshape(16, 4, 4, 1)
    flow = Flow(layers.Rescale(256), (4, 4, 1))
    u = ops.convert_to_numpy(flow.dequantizer.dequantize(pixels, noise.fold(noise.image_keys(pixels), 0, 0))[0])
    expected = tfd.Normal(128.0, 256.0).log_prob(u.astype("float32"))
    expected = -np.sum(ops.convert_to_numpy(expected), axis=(1, 2, 3)) / 16 / np.log(2)
    np.testing.assert_allclose(flow.bits_per_dim(pixels), expected, rtol=1e-5)


def test_decode_gives_the_images_back(flow):
    np.testing.assert_array_equal(ops.convert_to_numpy(flow.decode(flow.encode(IMAGES))), IMAGES)


@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        (models.nice, {"hidden": (64, 64)}),
        (models.realnvp, {"num_blocks": 1, "filters": 8}),
        (models.glow, {"num_levels": 2, "num_steps": 2, "width": 8}),
        (models.maf, {"num_layers": 2, "hidden": (64,)}),
    ],
)
def test_float32_round_trip_of_the_models(model, arguments):
    flow = randomized(Flow(model((8, 8, 1), 256, **arguments), (8, 8, 1)), scale=0.05)
    x = np.random.RandomState(2).uniform(0, 256, size=(20, 8, 8, 1)).astype("float32")
    z, _ = jit(flow, flow.transform.inverse_and_log_det)(ops.convert_to_tensor(x))
    back, _ = jit(flow, flow.transform.forward_and_log_det)(z)
    assert np.max(np.abs(ops.convert_to_numpy(back) - x)) < 1e-2  # pixel units


def test_interpolation_ends_at_its_images(flow):
    path = flow.interpolate(IMAGES[:3], IMAGES[3:6], num=4)
    assert path.shape == (3, 4, 4, 4, 1)
    np.testing.assert_array_equal(path[:, 0], IMAGES[:3])
    np.testing.assert_array_equal(path[:, -1], IMAGES[3:6])


def test_a_path_between_classes_ends_at_its_images():
    flow = randomized(small(num_classes=3))
    a, b = ({"image": IMAGES[rows], "label": np.full(3, label)} for rows, label in ((slice(3), 0), (slice(3, 6), 2)))
    path = flow.interpolate(a, b, num=3)
    np.testing.assert_array_equal(path[:, 0], IMAGES[:3])
    np.testing.assert_array_equal(path[:, -1], IMAGES[3:6])


def test_numbers_of_an_image_do_not_depend_on_its_batch(flow):
    together = ops.convert_to_numpy(flow.log_prob(IMAGES[:6]))
    alone = np.concatenate([ops.convert_to_numpy(flow.log_prob(IMAGES[i : i + 1])) for i in range(6)])
    np.testing.assert_allclose(alone, together, rtol=1e-5)
    np.testing.assert_allclose(flow.predict(IMAGES[:6], batch_size=4, verbose=0), together, rtol=1e-5)
    order = np.random.RandomState(0).permutation(len(IMAGES))
    np.testing.assert_allclose(
        flow.bits_per_dim(IMAGES[order], seed=3),
        flow.bits_per_dim(IMAGES, seed=3, batch_size=7)[order],
        rtol=1e-5,
    )


def test_draws_differ_between_seeds_and_the_importance_bound_is_tighter(flow):
    single = np.stack([flow.bits_per_dim(IMAGES, seed=seed) for seed in range(8)])
    assert np.all(single.std(axis=0) > 0)
    assert flow.bits_per_dim(IMAGES, num_samples=8).mean() < single.mean()


def test_images_out_of_range_have_probability_zero_in_a_graph(flow):
    images = np.concatenate([IMAGES[:2], IMAGES[:1] + 17])
    log_prob = ops.convert_to_numpy(jit(flow, flow)(ops.convert_to_tensor(images)))
    assert np.isfinite(log_prob).tolist() == [True, True, False]
    assert log_prob[2] == -np.inf


def test_density_is_zero_beyond_what_the_logit_reaches(flow):
    """x = (sigmoid(z) - alpha) 17 / (1 - 2 alpha) lies within 17 alpha / (1 - 2 alpha) = 0.94 of [0, 17]."""
    x = np.full((4, 4, 4, 1), 8.0, "float32")
    x[1, 2, 3], x[2, 0, 0], x[3, 1, 1] = 17.9, 18.0, -1.0
    for log_prob in (flow.as_distribution().log_prob(x), flow.log_prob(x, dequantize=False)):
        assert np.isfinite(ops.convert_to_numpy(log_prob)).tolist() == [True, True, False, False]
        assert np.all(ops.convert_to_numpy(log_prob)[2:] == -np.inf)
    real = Flow(layers.Logit(17), (4, 4, 1), dequantizer=None)
    assert np.isnan(ops.convert_to_numpy(real.encode(x))).any(axis=(1, 2, 3)).tolist() == [False, False, True, True]


def test_samples(flow):
    samples = flow.sample(6, seed=0)
    assert samples.shape == (6, 4, 4, 1)
    assert samples.dtype == np.uint8
    assert samples.max() < 17
    np.testing.assert_array_equal(samples, flow.sample(6, seed=0))
    np.testing.assert_array_equal(samples[:2], flow.sample(2, seed=0))
    assert (samples != flow.sample(6, seed=1)).any()
    assert (flow.sample(3) != flow.sample(3)).any()
    mode = flow.sample(2, temperature=0.0, seed=5)
    np.testing.assert_array_equal(mode[0], mode[1])


@pytest.mark.parametrize("base", ["normal", "logistic", "mixture"])
def test_samples_follow_the_density_of_the_base(base):
    """E[-log p(z)] over samples is the entropy that samples of TFP's own generator give."""
    keras.utils.set_random_seed(0)
    base_distribution = BaseDistribution(base, num_components=3)
    base_distribution.build((None, 4))
    keys = noise.seed_keys(np.arange(20000))
    z = base_distribution.sample(noise.uniform(keys, base_distribution.num_uniforms), np.ones(20000, "float32"))
    ours = -np.mean(ops.convert_to_numpy(base_distribution.log_prob(z)))
    theirs = base_distribution._distribution().sample(20000, seed=SEED)
    theirs = -np.mean(ops.convert_to_numpy(base_distribution.log_prob(theirs)))
    assert abs(ours - theirs) < 0.06  # four standard errors of the two means


def test_noise_of_a_key_does_not_depend_on_the_batch():
    """Of a batch of n with n numbers each too, whose shapes [n, 1] and [1, n] a backend may take for each other's."""
    keys = noise.seed_keys(np.arange(8))
    together = ops.convert_to_numpy(noise.uniform(keys, 16))
    alone = [ops.convert_to_numpy(noise.uniform([word[i : i + 1] for word in keys], 16)) for i in range(8)]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_threefry_known_answers():
    """The vectors published with Random123 for Threefry-2x32, 20 rounds."""
    vectors = {
        ((0, 0), (0, 0)): (0x6B200159, 0x99BA4EFE),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF)): (0x1CB996FC, 0xBB002BE7),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3)): (0xC4923A9C, 0x483DF7A0),
    }
    for (key, counter), expected in vectors.items():
        words = noise.threefry(*(tuple(np.array([w], np.uint32) for w in pair) for pair in (key, counter)))
        assert tuple(int(ops.convert_to_numpy(word)[0]) for word in words) == expected


def test_as_distribution(flow):
    distribution = flow.as_distribution()
    x = distribution.sample(5, seed=SEED)
    assert tuple(x.shape) == (5, 4, 4, 1)
    assert tuple(distribution.event_shape) == (4, 4, 1)
    np.testing.assert_allclose(
        ops.convert_to_numpy(distribution.log_prob(x)),
        ops.convert_to_numpy(flow.log_prob(x, dequantize=False)),
        rtol=1e-5,
    )


def test_the_loss_is_bits_per_dim_plus_the_layers_losses():
    flow = small()
    flow.compile("sgd")
    loss, bits = flow.evaluate(IMAGES, verbose=0, batch_size=40)
    assert loss - bits == pytest.approx(float(ops.convert_to_numpy(sum(flow.losses))), rel=1e-4)
    assert bits == pytest.approx(flow.bits_per_dim(IMAGES).mean(), rel=1e-5)


def test_training_learns_and_saves(tmp_path):
    flow = small()
    flow.compile(keras.optimizers.Adam(1e-2))
    history = flow.fit(IMAGES, batch_size=10, epochs=6, validation_data=IMAGES[:10], verbose=0).history
    assert history["bits_per_dim"][-1] < history["bits_per_dim"][0] - 0.1
    assert set(history) == {"loss", "bits_per_dim", "val_loss", "val_bits_per_dim"}
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    assert int(loaded.step) == int(flow.step) == 24
    np.testing.assert_allclose(loaded.predict(IMAGES, verbose=0), flow.predict(IMAGES, verbose=0), rtol=1e-6)
    # The optimizer's state and the training noise go on as well: one more step gives the same weights.
    for model in (flow, loaded):
        model.fit(IMAGES, batch_size=40, shuffle=False, verbose=0)
    for a, b in zip(flow.weights, loaded.weights, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(a), ops.convert_to_numpy(b), atol=1e-6)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's options")
def test_fit_changes_no_option_of_tensorflow():
    import tensorflow as tf

    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(tf.config.optimizer.get_experimental_options())

    before = tf.config.optimizer.get_experimental_options()
    flow = small()
    flow.compile()
    flow.fit(IMAGES, verbose=0, callbacks=[Look()])
    assert [*seen, tf.config.optimizer.get_experimental_options()] == [before] * (len(seen) + 1)


def test_a_float64_model_loads_under_another_policy(tmp_path):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    try:
        with double_precision():
            flow = small()
            flow.save(tmp_path / "flow.keras")
            keras.config.set_dtype_policy(policy)
            loaded = keras.saving.load_model(tmp_path / "flow.keras")
            assert ops.convert_to_numpy(loaded.log_prob(IMAGES)).dtype == np.float64
            np.testing.assert_allclose(loaded.bits_per_dim(IMAGES), flow.bits_per_dim(IMAGES), rtol=1e-12)
    finally:
        keras.config.set_dtype_policy(policy)


def test_sample_weight():
    """A weight of zero takes an image out of the loss; the loss is Keras's sum over the batch size."""
    flow = small()
    flow.compile("sgd")
    extra = float(ops.convert_to_numpy(sum(flow.losses)))
    weights = np.repeat([2.0, 0.0], 20).astype("float32")
    loss = flow.evaluate(IMAGES, sample_weight=weights, batch_size=40, verbose=0)[0]
    assert loss - extra == pytest.approx(flow.bits_per_dim(IMAGES[:20]).mean(), rel=1e-4)
    for shape in ((-1,), (-1, 1)):  # as Keras takes them
        x, weighted = map(ops.convert_to_tensor, (np.zeros(3, "float32"), weights[18:21].reshape(shape)))
        bits = float(flow.compute_loss(y_pred=x - flow.nats_per_bit_per_dim, sample_weight=weighted))
        assert bits - extra == pytest.approx((2 + 2 + 0) / 3, rel=1e-5)
    nothing = float(flow.compute_loss(y_pred=ops.zeros((0,))))  # of a device that gets no image
    assert nothing == pytest.approx(extra)


def test_mixed_precision_keeps_densities_in_float32():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        flow = small()
    finally:
        keras.config.set_dtype_policy(policy)
    full = small()
    full.set_weights(flow.get_weights())
    assert flow.predict(IMAGES, verbose=0).dtype == np.float32
    flow.compile("adam")
    flow.fit(IMAGES, verbose=0)
    full.set_weights(flow.get_weights())
    np.testing.assert_allclose(flow.bits_per_dim(IMAGES).mean(), full.bits_per_dim(IMAGES).mean(), atol=0.02)


def test_conditional_flow_reads_labels():
    labels = np.arange(40) % 3
    flow = randomized(small(num_classes=3))
    flow.compile("adam")
    data = {"image": IMAGES, "label": labels, "id": np.array([f"row {i}" for i in range(40)])}
    flow.fit(data, batch_size=20, verbose=0)
    by_label = [ops.convert_to_numpy(flow.log_prob(IMAGES, k)) for k in range(3)]
    assert np.all(by_label[0] != by_label[1])
    np.testing.assert_allclose(flow.predict(data, verbose=0), np.choose(labels, by_label), rtol=1e-5)
    assert (flow.sample(4, seed=0, condition=0) != flow.sample(4, seed=0, condition=1)).any()
    posterior = ops.convert_to_numpy(flow.class_posterior(IMAGES))
    np.testing.assert_allclose(posterior.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(posterior[:, 0] / posterior[:, 1], np.exp(by_label[0] - by_label[1]), rtol=1e-3)
