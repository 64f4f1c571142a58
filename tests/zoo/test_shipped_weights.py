"""Weights that come with tfflows: of the zoo's recipes, with the figures that they claim, and good to train on."""

import json

import pytest

from tfflows import data, zoo
from tfflows.evaluation import robustness
from tfflows.layers import BatchNorm
from tfflows.zoo import store
from tfflows.zoo.folders import packaged_folder
from tfflows.zoo.recipe import Recipe

DIGITS = [name for name in zoo.list_models(trained=True) if "_digits" in name]
SHIPPED = [name for name in DIGITS if name.endswith(("_digits", "_digits_conditional"))]


@pytest.fixture(scope="module")
def flow(request):
    """A loaded entry, whose graphs the tests of one name share."""
    flow = zoo.load(request.param)
    flow.jit_compile = False  # XLA would take most of the time; tests/test_backends.py says that it trains as graphs do
    return flow


def entries(names, *on_jax):
    """Tests of entries by name, on JAX, where each takes long to compile, of some alone."""
    params = [pytest.param(name, name, marks=[pytest.mark.backend_free] * (name not in on_jax)) for name in names]
    return pytest.mark.parametrize(("flow", "name"), params, indirect=["flow"], scope="module")


@entries(SHIPPED, "glow_digits")  # test_reference_values has the densities of all
def test_shipped_weights(flow, name):
    folder = zoo.artefact(name, packaged=True)
    recipe = Recipe.from_toml(folder / "recipe.toml")
    assert recipe == zoo.recipe(name)
    images = data.arrays(recipe.data, "test")
    claimed = zoo.metrics(name)["draws"][0]
    assert flow.bits_per_dim(images, seed=recipe.evaluation.seed).mean() == pytest.approx(claimed, abs=5e-4)
    report = robustness.measure(flow, images)
    assert all(row["finite"] for row in report["images"].values())
    assert report["images"]["test images"]["round_trip"] < 1e-2  # pixel units
    stored = json.loads((folder.parent / "measured.json").read_text())["images"]
    for kind, row in report["images"].items():
        assert row["bits_per_dim"] == pytest.approx(stored[kind]["bits_per_dim"], rel=1e-3)
    assert report["samples"] == {**report["samples"], "count": 1000, "finite": True}


def bits_after_an_epoch(flow, train, test):
    """The test bits/dim before and after an epoch of `fit`; the flow is then as it was."""
    weights, before = flow.get_weights(), flow.bits_per_dim(test).mean()
    flow.fit(train, epochs=1, verbose=0)
    after = flow.bits_per_dim(test).mean()
    flow.set_weights(weights)
    return before, after


@entries(DIGITS)  # what an optimizer does to weights is the same on both backends
def test_an_epoch_on_a_model_s_own_data_does_no_harm(flow, name):
    train, test = (data.arrays(zoo.recipe(name).data, split) for split in ("train", "test"))
    before, after = bits_after_an_epoch(flow, train if flow.num_classes else train["image"], test)
    assert after <= before + 0.01


@entries(["realnvp_digits"])
def test_an_epoch_on_other_images_learns_them(flow, name):
    """Inverted digits; the statistics of batch normalisation stay those of the digits."""
    assert {each.trainable for each in flow._flatten_layers() if isinstance(each, BatchNorm)} == {False}
    train, test = (16 - data.arrays(zoo.recipe(name).data, split)["image"] for split in ("train", "test"))
    before, after = bits_after_an_epoch(flow, train, test)
    assert after < before - 0.01


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
