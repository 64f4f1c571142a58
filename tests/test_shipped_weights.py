"""The weights that come with tfflows are those of the zoo's recipes and have the figures that they claim."""

import pytest

from tfflows import data, store, zoo
from tfflows._folders import packaged_folder
from tfflows.recipe import Recipe

SHIPPED = [name for name in zoo.list_models() if name.endswith(("_digits", "_digits_conditional"))]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights(name):
    folder = packaged_folder("saved_models") / name / "1"
    store.verify(folder)
    recipe = Recipe.from_toml(folder / "recipe.toml")
    assert recipe == zoo.recipe(name)
    images = data.arrays(recipe.data, "test")
    claimed = zoo.metrics(name)["draws"][0]
    measured = zoo.load(name).bits_per_dim(images, seed=recipe.evaluation.seed).mean()
    assert measured == pytest.approx(claimed, abs=5e-4)
