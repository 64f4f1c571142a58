"""Batch normalisation's statistics, recomputed for the weights that are evaluated."""

import keras
import numpy as np
import pytest
from keras import ops

import tfflows
from tfflows import layers, models, nets
from tfflows.flow import batches


def random_flow(transform, event_shape, **options):
    """A flow whose weights are random: zero-initialised last layers would make every coupling the identity."""
    flow = tfflows.Flow(transform, event_shape, **options)
    random = np.random.RandomState(0)
    for weight in flow.transform.weights:
        weight.assign(0.3 * random.standard_normal(weight.shape))
    return flow


def norms(flow):
    return [each for each in flow._flatten_layers() if isinstance(each, layers.BatchNorm)]


@pytest.mark.parametrize("multiscale", [False, True])
def test_images_leave_each_batch_norm_with_mean_0_and_variance_1(multiscale):
    """In evaluation, over all of the images at once, although they are read in batches of other sizes."""
    random = np.random.RandomState(1)
    if multiscale:
        levels = [layers.Chain([layers.BatchNorm()]), layers.Chain([layers.BatchNorm(), layers.Squeeze()])]
        flow = random_flow(layers.Multiscale(levels), (4, 4, 1), dequantizer=None)
        # One batch norm with 2 channels of 2x2 places, one with 4 channels of 2x2 places, two of which went on to it.
        axes, shape = (0, 1), (-1, 4, 2)
    else:
        chain = [layers.BatchNorm(), layers.Coupling(nets.MLP([8])), layers.BatchNorm(), layers.Coupling(nets.MLP([8]))]
        flow = random_flow(layers.Chain(chain), (4,), dequantizer=None)
        axes, shape = 0, (-1, 4)
    x = 3 + 2 * random.standard_normal((600, *flow.event_shape)).astype("float32")
    flow.update_statistics(x)
    z = ops.convert_to_numpy(flow.encode(x))
    for part in (z[:, :8], z[:, 8:]) if multiscale else (z,):
        part = part.reshape(shape)
        np.testing.assert_allclose(part.mean(axis=axes), 0, atol=1e-3)
        np.testing.assert_allclose(part.std(axis=axes), 1, atol=1e-3)


def test_what_is_frozen_or_random_stays(monkeypatch):
    images = np.random.RandomState(0).randint(0, 17, (40, 4, 4, 1)).astype("uint8")
    transform = models.realnvp((4, 4, 1), 17, num_levels=1, num_blocks=1, filters=4, dropout=0.5)
    flow = random_flow(transform, (4, 4, 1), num_values=17)
    first, *others = norms(flow)
    first.trainable = False
    states = [each.state for layer in flow._flatten_layers() for each in layer._seed_generators]
    before = [ops.convert_to_numpy(value) for value in (first.mean, others[0].mean, *states)]
    flow.update_statistics(images)
    after = [ops.convert_to_numpy(value) for value in (first.mean, others[0].mean, *states)]
    changed = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert len(states) == 4
    assert changed == [False, True, *[False] * len(states)]
    flow.update_statistics(images)
    np.testing.assert_array_equal(ops.convert_to_numpy(others[0].mean), after[1])


def test_the_validation_split_is_not_looked_at():
    images = np.random.RandomState(0).randint(0, 8, (40, 4, 4, 1)).astype("uint8")
    others = np.full((10, 4, 4, 1), 16, "uint8")
    histories = []
    for data in ({"x": np.concatenate([images, others]), "validation_split": 0.2}, {"x": images}):
        keras.utils.set_random_seed(0)
        flow = tfflows.Flow(models.realnvp((4, 4, 1), 17, num_levels=1, num_blocks=1, filters=4), (4, 4, 1), 17)
        flow.compile("adam")
        flow.fit(**data, batch_size=20, shuffle=False, verbose=0)
        histories.append(flow.bits_per_dim(images))
    np.testing.assert_allclose(*histories, atol=1e-4)


def test_batch_normalisation_inside_of_networks_keeps_its_averages():
    parts = [layers.BatchNorm(), layers.Coupling(nets.PreActivationResNet(4, 1))]
    flow = tfflows.Flow(layers.Chain(parts), (4, 4, 2), 17)
    inside = [each for each in flow._flatten_layers() if isinstance(each, keras.layers.BatchNormalization)]
    before = [ops.convert_to_numpy(weight) for each in inside for weight in each.weights]
    assert before
    flow.update_statistics(np.random.RandomState(0).randint(0, 17, (40, 4, 4, 2)).astype("uint8"))
    after = [ops.convert_to_numpy(weight) for each in inside for weight in each.weights]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_early_validation_is_of_the_size_of_the_training_loss():
    """Running averages of a momentum of 0.95 know nothing of the data after four steps."""
    from tfflows import data, zoo

    images = data.arrays(zoo.recipe("realnvp_digits").data, "train", 288)["image"]
    keras.utils.set_random_seed(0)
    flow = tfflows.Flow(models.realnvp((8, 8, 1), 17, num_blocks=1, filters=8), (8, 8, 1), num_values=17)
    flow.compile("adam")
    history = flow.fit(images[:256], batch_size=64, epochs=2, validation_data=images[256:], verbose=0).history
    assert history["val_bits_per_dim"][0] < history["bits_per_dim"][0] + 0.1
    assert history["val_bits_per_dim"][1] < history["bits_per_dim"][1] + 0.1
    # What fit ends with was updated for the last weights: evaluating them again changes nothing.
    assert flow.evaluate(images[256:], verbose=0, return_dict=True)["bits_per_dim"] == pytest.approx(
        history["val_bits_per_dim"][-1], abs=1e-3
    )


def test_images_are_chosen_from_whatever_fit_accepts():
    array = np.arange(100)
    assert len(batches.choose(array, 30)) == 25  # every fourth, so that sorted classes are all there
    assert batches.choose({"image": array, "label": array}, 100)["label"].tolist() == array.tolist()

    class Batches(keras.utils.PyDataset):
        num_batches = None  # without end

        def __getitem__(self, index):
            return {"image": np.full(8, index)}

    assert batches.choose(Batches(), 20)["image"].tolist() == [0] * 8 + [1] * 8 + [2] * 4
