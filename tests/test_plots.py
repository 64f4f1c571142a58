"""Pictures: they show the numbers that they are given."""

import numpy as np
import pytest

from tfflows import Flow, layers, nets, plots
from tfflows.errors import InputError
from tfflows.models import MODELS

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("template")  # the backend that shows nothing
pyplot = pytest.importorskip("matplotlib.pyplot")

pytestmark = pytest.mark.backend_free


@pytest.fixture(autouse=True)
def close():
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def flow():
    return Flow(MODELS["nice"]((4, 4, 1), 17, hidden=(8,)), (4, 4, 1), num_values=17)


def test_pictures_of_images_show_samples_paths_and_bits(flow):
    grid = plots.samples(flow, 6, seed=1).images[0].get_array()
    np.testing.assert_array_equal(grid, plots.image_grid(flow.sample(6, seed=1), 17)[..., 0])
    flow.show_samples(6, seed=1)
    np.testing.assert_array_equal(pyplot.gca().images[0].get_array(), grid)
    a, b = flow.sample(2, seed=2), flow.sample(2, seed=3)
    rows = plots.interpolation(flow, a, b, 5).images[0].get_array()
    expected = np.concatenate([a[0], b[1]])[..., 0] * (255 / 16)
    shown = np.concatenate([rows[2:34, 2:34][::8, ::8], rows[36:68, 138:170][::8, ::8]])
    np.testing.assert_allclose(shown, expected, atol=0.5)
    axes = plots.bits_map(flow, a[0])
    bits = flow.bits_per_dim(a[:1])[0]
    assert axes.images[0].get_array().sum() == pytest.approx(16 * bits, rel=1e-5)
    assert axes.get_title() == f"{bits:.3f} bits/dim"


def test_the_learning_curve_and_the_histogram_show_every_number():
    history = [{"epoch": i, "bits_per_dim": 9.0 / i, "val_bits_per_dim": 9.5 / i} for i in range(1, 11)]
    axes = plots.learning_curve({"history": history, "best_epoch": 10, "bits_per_dim": 0.96})
    training, validation, test = (line.get_xydata() for line in axes.lines)
    np.testing.assert_allclose(training, [[row["epoch"], row["bits_per_dim"]] for row in history])
    np.testing.assert_allclose(validation[:, 1], [row["val_bits_per_dim"] for row in history])
    np.testing.assert_allclose(test, [[10, 0.96]])
    _, axes = pyplot.subplots()
    assert plots.score_histogram({"test": np.arange(8.0), "blank": [3.0] * 4}, bins=4, axes=axes) is axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["test", "blank"]
    assert axes.get_ylim()[1] == pytest.approx(1.05)  # all blank images are in one bin
    with pytest.raises(InputError, match="no scores"):
        plots.score_histogram({"test": []})


def test_the_density_in_the_plane_is_the_flows():
    flow = Flow(layers.Chain([layers.Coupling(nets.MLP([4]))]), (2,), dequantizer=None)
    density = plots.density_2d(flow, (-4, 4, -3, 3), points=40).images[0].get_array()
    assert density.sum() * (8 / 40) * (6 / 40) == pytest.approx(0.997, abs=2e-3)  # of a standard normal
    assert density[0, 20] > density[20, 0]  # the y axis ends nearer to the middle, and goes upwards
    with pytest.raises(InputError, match=r"flows of \[2\]"):
        plots.density_2d(Flow(layers.DiagonalScale(), (3,), dequantizer=None))
