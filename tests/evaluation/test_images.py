"""Grids of images: every pixel is where it belongs."""

import numpy as np
import pytest
from PIL import Image

import tfflows
from tfflows.evaluation.images import save_png
from tfflows.plots import image_grid

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("num_values", [17, 32, 256])
def test_png_shows_every_image_at_its_place_with_the_full_range(tmp_path, channels, num_values):
    images = np.random.RandomState(0).randint(0, num_values, size=(5, 8, 8, channels))
    images[0], images[1] = 0, num_values - 1
    save_png(tmp_path / "grid.png", images, num_values, columns=3)
    with Image.open(tmp_path / "grid.png") as file:
        pixels = np.asarray(file).reshape(file.height, file.width, channels)
    assert pixels.shape == (2 * 34 + 2, 3 * 34 + 2, channels)
    for index, image in enumerate(images):
        top, left = 2 + index // 3 * 34, 2 + index % 3 * 34
        tile = pixels[top : top + 32, left : left + 32]
        shown = tile[::4, ::4]
        assert (tile == shown.repeat(4, 0).repeat(4, 1)).all()
        np.testing.assert_array_equal(np.rint(shown / 255.0 * (num_values - 1)), image)
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


def test_what_is_no_image_is_refused_and_leaves_no_file(tmp_path):
    for shape in [(0, 8, 8, 1), (8, 8, 1), (2, 8, 8, 2)]:
        with pytest.raises(ValueError, match="expected images"):
            save_png(tmp_path / "grid.png", np.zeros(shape, int))
    assert list(tmp_path.iterdir()) == []
    assert image_grid(np.zeros((1, 64, 32, 3), int)).shape == (68, 36, 3)


def test_show_draws_the_grid():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("template")  # the backend that shows nothing
    from matplotlib import pyplot

    images = np.random.RandomState(0).randint(0, 17, size=(5, 8, 8, 1))
    tfflows.show(images, 17)
    shown = pyplot.gca().images[0].get_array()
    pyplot.close()
    np.testing.assert_array_equal(shown, image_grid(images, 17)[..., 0])
