"""The bits of single pixels: they add up, are an autoregressive flow's conditionals, and lie where the image is."""

import numpy as np
import pytest

from tfflows import Flow, data, layers, models, nets, zoo
from tfflows.errors import InputError, UnsupportedError

SHAPE, NUM_VALUES = (4, 4, 2), 8


def randomize(flow, seed=0):
    draw = np.random.RandomState(seed)
    for weight in flow.weights:
        if "float" in weight.dtype:
            weight.assign(weight + 0.3 * draw.randn(*weight.shape))
    return flow


def images(n=5, seed=0):
    return np.random.RandomState(seed).randint(0, NUM_VALUES, (n, *SHAPE)).astype("uint8")


FLOWS = {
    "glow": lambda: (
        models.glow(SHAPE, NUM_VALUES, 3, num_levels=2, num_steps=1, width=4, coupling="spline", rescale="gaussianize"),
        "normal",
    ),
    "maf": lambda: (models.maf(SHAPE, NUM_VALUES, num_layers=2, hidden=(16,), mixture_components=2), "normal"),
    "nice": lambda: (models.nice(SHAPE, NUM_VALUES, hidden=(8,)), "logistic"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "nice" else pytest.mark.backend_free) for name in FLOWS]
)
def test_the_bits_of_the_pixels_add_up_to_those_of_the_image(name):
    transform, base = FLOWS[name]()
    num_classes = transform.condition_size or None
    flow = randomize(Flow(transform, SHAPE, NUM_VALUES, base=base, num_classes=num_classes))
    label = np.arange(5) % 3 if num_classes else None
    bits = flow.bits_per_dim(images(), label, seed=4) * np.prod(SHAPE)
    found = flow.bits_map(images(), label, seed=4, batch_size=3)
    assert found.shape == (5, 4, 4)
    np.testing.assert_allclose(found.sum(axis=(1, 2)), bits, rtol=1e-4)
    twice = flow.bits_map(images(), label, num_samples=2, seed=4)
    assert np.abs(twice - found).max() > 1e-3


@pytest.mark.backend_free
def test_pixels_beyond_the_logit_have_infinite_bits():
    flow = Flow(layers.Logit(NUM_VALUES), SHAPE, dequantizer=None)
    x = np.full((1, *SHAPE), 3.0, "float32")
    x[0, 1, 2, 0] = 300.0
    assert flow.log_prob(x) == -np.inf
    assert np.flatnonzero(np.isinf(flow.bits_map(x))) == 1 * SHAPE[1] + 2


@pytest.mark.backend_free
def test_an_autoregressive_flow_s_map_is_its_conditionals():
    transform = layers.Chain.from_data(
        [layers.Rescale(NUM_VALUES), layers.Flatten(), layers.Autoregressive(nets.MADE((32,)), "spline")]
    )
    flow = randomize(Flow(transform, (3, 3, 1), dequantizer=None))
    x = np.random.RandomState(1).uniform(1, NUM_VALUES - 1, (2, 3, 3, 1)).astype("float32")
    other = x.copy()
    other[:, 1, 2] = 5.0  # pixel 5 of 0 .. 8
    before, after = (flow.bits_map(each).reshape(2, 9) for each in (x, other))
    np.testing.assert_allclose(before[:, :5], after[:, :5], atol=1e-5)  # they come first and cannot know
    assert np.all(np.abs(before - after)[:, 5:].max(axis=1) > 1e-3)
    # Given all pixels before it, the density of pixel 4 integrates to 1 (in units of a grey value).
    grid = np.linspace(-60, 60, 6001, dtype="float32")
    line = np.repeat(x[:1], len(grid), axis=0)
    line[:, 1, 1, 0] = grid
    density = np.exp2(-flow.bits_map(line, batch_size=6001)[:, 1, 1])
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-3)


@pytest.mark.backend_free
def test_a_trained_multiscale_flow_is_surprised_where_the_image_is_strange():
    flow = zoo.load("glow_digits")
    test = data.arrays(zoo.recipe("glow_digits").data, "test")["image"][:20]
    strange = test.copy()
    strange[:, 6:, :2] = 8  # where digits are black
    change = flow.bits_map(strange) - flow.bits_map(test)
    block = change[:, 4:, :4].mean()  # level 2 has blocks of 4x4 pixels
    assert block > 3 * np.abs(change[:, :4, 4:]).mean()
    assert np.argmax(change.mean(axis=0).reshape(2, 4, 2, 4).mean(axis=(1, 3))) == 2


def test_what_has_no_bits_of_single_pixels_is_refused():
    mixture = Flow(layers.Rescale(NUM_VALUES), SHAPE, NUM_VALUES, base="mixture")
    with pytest.raises(UnsupportedError, match="mixture"):
        mixture.bits_map(images())
    flat = layers.Chain.from_data([layers.Rescale(NUM_VALUES), layers.Flatten(), layers.Invert(layers.Planar())])
    with pytest.raises(UnsupportedError, match="Invert has a log-determinant"):
        Flow(flat, SHAPE, NUM_VALUES).bits_map(images())
    vectors = Flow(layers.DiagonalScale(), (3,), dequantizer=None)
    with pytest.raises(InputError, match="images"):
        vectors.bits_map(np.zeros((2, 3), "float32"))
