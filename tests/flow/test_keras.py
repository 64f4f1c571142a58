"""Keras's ways to train a flow: what they refuse, what they initialise, and what its callbacks see."""

import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from tfflows import Flow, layers, models, nets
from tfflows._backend.autodiff import gradients

ROOT = Path(__file__).resolve().parents[2]
IMAGES = np.random.RandomState(0).randint(0, 17, (40, 4, 4, 1)).astype("uint8")


def glow(**arguments):
    keras.utils.set_random_seed(0)
    return Flow(models.glow((4, 4, 1), 17, num_levels=1, num_steps=2, width=8, **arguments), (4, 4, 1), 17)


def labelled():
    return Flow(models.nice((4, 4, 1), 17, 3, hidden=(8,)), (4, 4, 1), 17, num_classes=3)


class Batches(keras.utils.PyDataset):
    def __init__(self, *batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


@pytest.mark.parametrize(
    "arguments", [{"loss": "mse"}, {"metrics": ["mse"]}, {"weighted_metrics": ["mse"]}, {"loss_weights": [1.0]}]
)
def test_a_loss_or_metrics_are_refused_and_a_plain_compile_works_afterwards(arguments):
    flow = labelled()
    with pytest.raises(ValueError, match=f"compile got {next(iter(arguments))}=.*leave .* out"):
        flow.compile("adam", **arguments)
    flow.compile("adam")
    history = flow.fit({"image": IMAGES, "label": np.arange(40) % 3}, verbose=0).history
    assert set(history) == {"loss", "bits_per_dim"}


def test_class_weights_and_float16_are_refused():
    flow = glow()
    flow.compile()
    for train in (flow.fit, flow.train_on_batch):
        with pytest.raises(ValueError, match=r"class_weight=.*give sample_weight"):
            train(IMAGES, class_weight={0: 1.0})
    half = Flow(layers.Coupling(nets.MLP((8,), dtype="mixed_float16")), (4,), dequantizer=None)
    with pytest.raises(ValueError, match=r"'mixed_float16'.*'mixed_bfloat16'"):
        half.compile("adam")


def test_kerass_export_names_ours():
    with pytest.raises(NotImplementedError, match=r"tfflows\.export\.export\(flow, folder\)"):
        glow().export("folder")


def test_callbacks_know_that_less_is_better(tmp_path):
    """The third epoch, whose learning rate is absurd, stops training, and the second is the best that is kept."""
    flow = glow()
    flow.compile(keras.optimizers.SGD(1e-3))
    rates = keras.callbacks.LearningRateScheduler(lambda epoch: 1e-3 if epoch < 2 else 0.3)
    best = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras", monitor="val_bits_per_dim", save_best_only=True)
    stop = keras.callbacks.EarlyStopping(monitor="val_bits_per_dim", patience=1)
    callbacks = [rates, best, stop]
    values = flow.fit(IMAGES, epochs=9, validation_data=IMAGES, callbacks=callbacks, verbose=0).history
    assert values["val_bits_per_dim"][1] < values["val_bits_per_dim"][0] < values["val_bits_per_dim"][2]
    assert len(values["loss"]) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.keras", "2.keras"]


def test_training_outside_of_fit_is_kept_by_fit():
    flow = glow()
    flow.compile(keras.optimizers.SGD(1e-3))
    assert np.isfinite(flow.train_on_batch(IMAGES)[0])
    assert int(ops.convert_to_numpy(flow.adapted)) == 1
    before = flow.bits_per_dim(IMAGES)
    flow.compile(keras.optimizers.SGD(0.0))
    flow.fit(IMAGES, verbose=0)
    np.testing.assert_array_equal(flow.bits_per_dim(IMAGES), before)


def test_fit_keeps_weights_that_were_assigned_and_those_of_a_transform_built_elsewhere():
    flow = glow()
    actnorm = next(layer for layer in flow._flatten_layers() if isinstance(layer, layers.ActNorm))
    actnorm.shift.assign(np.ones(4))
    for used in (flow, Flow(flow.transform, (4, 4, 1), 17)):
        used.compile(keras.optimizers.SGD(0.0))
        used.fit(IMAGES, verbose=0)
        np.testing.assert_array_equal(ops.convert_to_numpy(actnorm.shift), 1)
        assert not ops.convert_to_numpy(actnorm.log_scale).any()
    flow.adapt(IMAGES)  # by name it does as it is told
    assert ops.convert_to_numpy(actnorm.log_scale).any()


def built_transform(flow):
    transform = type(flow.transform).from_config(flow.transform.get_config())
    transform.build((None, 4, 4, 1))
    return transform


@pytest.mark.parametrize(
    "copy",
    [
        lambda flow: Flow.from_config(flow.get_config()),
        keras.models.clone_model,
        lambda flow: Flow(built_transform(flow), (4, 4, 1), 17),
    ],
)
def test_fit_initialises_a_copy_of_an_untrained_flow(copy):
    flow, copied = glow(rescale="gaussianize"), copy(glow(rescale="gaussianize"))
    for each in (flow, copied):
        each.compile(keras.optimizers.SGD(0.0))
        each.fit(IMAGES, verbose=0)
        assert int(ops.convert_to_numpy(each.adapted)) == 1
    named = [{w.path: w for w in each.transform.weights if "logits" in w.path} for each in (flow, copied)]
    for ours, theirs in zip(*(each.values() for each in named), strict=True):  # the histogram: the same images
        np.testing.assert_array_equal(ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs))
        assert np.ptp(ops.convert_to_numpy(theirs)) > 0
    for layer in copied._flatten_layers():
        if isinstance(layer, layers.ActNorm | nets.glow.ActNorm):
            assert ops.convert_to_numpy(layer.log_scale).any()


def test_a_loop_of_ones_own_is_refused_before_adapt_and_runs_after_it():
    flow = glow()

    def step():
        return gradients(lambda: -ops.mean(flow(IMAGES, training=True)), flow.trainable_variables)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(step, autograph=False)
    else:
        compiled = step  # which compiles by itself
    with pytest.raises(ValueError, match=r"call adapt\(batch\)"):
        compiled()
    flow.adapt(IMAGES)
    assert all(gradient is not None for gradient in compiled())


def test_a_conditional_flow_is_validated_with_sample_weights():
    data = {"image": IMAGES, "label": np.arange(40) % 3}
    flow, weights = labelled(), np.linspace(0.5, 1.5, 40).astype("float32")
    flow.compile(keras.optimizers.SGD(0.0))
    history = flow.fit(data, None, 20, 1, 0, validation_data=(data, None, weights)).history
    expected = flow.evaluate(data, None, 20, 0, sample_weight=weights, return_dict=True)
    assert history["val_bits_per_dim"][-1] == pytest.approx(expected["bits_per_dim"], rel=1e-5)
    split = flow.fit(data, sample_weight=weights, validation_split=0.25, verbose=0).history
    assert np.isfinite(split["val_loss"]).all()


@pytest.mark.parametrize("make", [models.realnvp, models.glow, models.maf])
def test_what_is_frozen_stays_so_in_copies_and_files(tmp_path, make):
    sizes = {"num_layers": 1, "hidden": (8,)} if make is models.maf else {"num_levels": 1}
    flow = Flow(make((4, 4, 1), 17, **sizes), (4, 4, 1), 17)
    assert flow.trainable_weights
    for layer in flow.transform.layers:
        layer.trainable = False
    assert not flow.trainable_weights
    flow.save(tmp_path / "flow.keras")
    for copied in (Flow.from_config(flow.get_config()), keras.saving.load_model(tmp_path / "flow.keras")):
        assert not copied.trainable_weights


def test_a_layer_in_bfloat16_around_a_flow_does_not_round_its_weights():
    parts = [layers.BatchNorm(learned=True), layers.Autoregressive(nets.MADE((8,)))]
    flow = Flow(layers.Chain(parts), (4,), dequantizer=None)
    random = np.random.RandomState(0)
    for weight in flow.transform.weights:
        weight.assign(0.3 * random.standard_normal(weight.shape))

    class Around(keras.layers.Layer):
        def call(self, x):
            return flow.log_density(ops.cast(x, "float32"))

    x = np.round(random.randn(5, 4) * 8).astype("float32") / 8  # exact in bfloat16
    around = ops.convert_to_numpy(Around(dtype="mixed_bfloat16")(x))
    np.testing.assert_allclose(around, flow.log_prob(x), atol=1e-4)


def test_a_keras_network_in_bfloat16_keeps_densities_in_float32():
    network = keras.Sequential([keras.layers.Dense(8, "relu"), keras.layers.Dense(4)])
    network.dtype_policy = keras.dtype_policies.get("mixed_bfloat16")
    for layer in network.layers:
        layer.dtype_policy = keras.dtype_policies.get("mixed_bfloat16")
    flow = Flow(layers.Coupling(network), (4,), dequantizer=None)
    x = np.random.RandomState(0).normal(size=(3, 4)).astype("float32")
    assert flow.log_prob(x).dtype == np.float32
    assert np.isfinite(flow.log_prob(x)).all()


def test_a_data_set_of_tuples_with_x_alone_is_one_of_x():
    tf = pytest.importorskip("tensorflow")
    flow = glow()
    flow.compile(keras.optimizers.SGD(0.0))
    flow.fit(tf.data.Dataset.from_tensor_slices((IMAGES,)).batch(8), verbose=0)
    np.testing.assert_allclose(flow.evaluate(IMAGES, verbose=0)[1], flow.bits_per_dim(IMAGES).mean(), rtol=1e-4)
    unknown = tf.data.Dataset.from_tensor_slices(IMAGES).map(lambda x: tf.py_function(lambda y: y, [x], tf.uint8))
    with pytest.raises(ValueError, match=r"map them through tf\.ensure_shape\(image, \[None, 4, 4, 1\]\)"):
        flow.fit(unknown.batch(8))


def test_equal_images_of_a_batch_get_different_noise_in_training():
    """Else batch normalisation divides by a variance of zero and the training loss falls far below evaluation's."""
    blank = np.zeros((64, 4, 4, 1), "uint8")
    keras.utils.set_random_seed(0)
    flow = Flow(layers.Chain([layers.BatchNorm(learned=True)]), (4, 4, 1), 17)
    flow.compile(keras.optimizers.SGD(0.0))
    # Uniform on [0, 1) and normalised: log2(e) (log(2 pi) + 1) / 2 + log2 of the deviation sqrt(1 / 12).
    expected = 0.5 * np.log2(2 * np.pi * np.e / 12)
    assert flow.train_on_batch(blank)[0] == pytest.approx(expected, abs=0.06)  # three standard deviations
    actnorm = Flow(layers.Chain([layers.ActNorm()]), (4, 4, 1), 17)
    actnorm.adapt(blank)
    np.testing.assert_allclose(
        ops.convert_to_numpy(actnorm.transform.layers[0].log_scale), 0.5 * np.log(1 / 12), atol=0.05
    )
    bits = flow.bits_per_dim(blank)
    np.testing.assert_array_equal(bits, bits[0])  # of the image alone in evaluation


def test_labels_out_of_range_never_give_a_finite_loss():
    flow = labelled()
    flow.compile(keras.optimizers.SGD(0.0))
    good, bad = ({"image": IMAGES[:8], "label": np.full(8, label)} for label in (2, 3))
    for method in (flow.train_on_batch, flow.test_on_batch, flow.predict_on_batch):
        with pytest.raises(ValueError, match="from 3 to 3"):
            method(bad)
    assert np.isfinite(flow.fit(Batches(good, good), verbose=0).history["loss"]).all()
    assert not np.isfinite(flow.fit(Batches(good, bad), verbose=0).history["loss"]).any()
    assert not np.isfinite(flow.evaluate(Batches(good, bad), verbose=0)).any()


def test_the_summary_shows_levels_steps_shapes_and_weights(capsys):
    flow = Flow(models.glow((8, 8, 1), 17, num_levels=2, num_steps=3, width=8), (8, 8, 1), 17)
    flow.summary()
    text = capsys.readouterr().out.strip()
    assert text == repr(flow)
    for line in (
        r"integers 0 to 16, shape \[8, 8, 1\]",
        r"level 1 of 2 +1,760 weights",
        r"3 x \(ActNorm, Conv1x1, Coupling\) +\[4, 4, 4\] +1,680 weights",
        r"level 2 of 2",
        r"3 x \(ActNorm, Conv1x1, Coupling\) +\[2, 2, 8\]",
        r"base: normal +\[64\]",
        rf"{flow.count_params():,} weights",
    ):
        assert re.search(line, text), line


ROWS = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 3)
from tfflows._backend import hosts
strategy = tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices("CPU")])
rows = tf.function(lambda x: strategy.run(hosts.row_numbers, args=(x,)))
for batch in strategy.experimental_distribute_dataset(tf.data.Dataset.range(16).batch(9)):
    print(*tf.concat(strategy.experimental_local_results(rows(batch)), 0).numpy())
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's replicas")
def test_rows_are_counted_over_all_replicas():
    """Also of a last batch of 7 that three replicas share as 3, 3 and 1."""
    result = subprocess.run([sys.executable, "-c", ROWS], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.splitlines() == ["0 1 2 3 4 5 6 7 8", "0 1 2 3 4 5 6"], result.stderr
