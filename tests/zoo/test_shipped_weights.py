"""The weights that come with tfflows are those of the zoo's recipes and have the figures that they claim."""

import json

import pytest

from tfflows import data, zoo
from tfflows.evaluation import robustness
from tfflows.zoo import store
from tfflows.zoo.folders import packaged_folder
from tfflows.zoo.recipe import Recipe

SHIPPED = [name for name in zoo.list_models() if name.endswith(("_digits", "_digits_conditional"))]


@pytest.mark.parametrize(  # on JAX, where each takes long to compile, one; test_reference_values has all densities
    "name", [pytest.param(name, marks=[pytest.mark.backend_free] * (name != "glow_digits")) for name in SHIPPED]
)
def test_shipped_weights(name):
    folder = zoo.artefact(name, packaged=True)
    recipe = Recipe.from_toml(folder / "recipe.toml")
    assert recipe == zoo.recipe(name)
    images = data.arrays(recipe.data, "test")
    claimed = zoo.metrics(name)["draws"][0]
    flow = zoo.load(name)
    assert flow.bits_per_dim(images, seed=recipe.evaluation.seed).mean() == pytest.approx(claimed, abs=5e-4)
    report = robustness.measure(flow, images)
    assert all(row["finite"] for row in report["images"].values())
    assert report["images"]["test images"]["round_trip"] < 1e-2  # pixel units
    stored = json.loads((folder.parent / "measured.json").read_text())["images"]
    for kind, row in report["images"].items():
        assert row["bits_per_dim"] == pytest.approx(stored[kind]["bits_per_dim"], rel=1e-3)
    assert report["samples"] == {**report["samples"], "count": 1000, "finite": True}


def test_all_shipped_weights_are_whole_small_and_of_the_recipe_that_the_zoo_has():
    root = packaged_folder("saved_models")
    sizes = [path.stat().st_size for path in root.rglob("*") if path.is_file()]
    assert max(sizes) <= 20e6
    assert sum(sizes) <= 120e6
    versions = [path.parent for path in root.glob("*/*/recipe.toml")]
    assert len(versions) >= len(SHIPPED)
    for folder in versions:
        store.verify(folder)
        assert Recipe.from_toml(folder / "recipe.toml") == zoo.recipe(folder.parent.name)
