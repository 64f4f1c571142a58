"""Going on with `fit` after `zoo.load`: no harm on a model's own data, progress on other data."""

import dataclasses

import keras
import numpy as np
import pytest

from tfflows import data, zoo
from tfflows.layers import BatchNorm
from tfflows.training import Run, train
from tfflows.zoo.recipe import Recipe

pytestmark = pytest.mark.backend_free  # what an optimizer does to weights is the same on both
DIGITS = [name for name in zoo.list_models(trained=True) if "_digits" in name]


def bits(flow, images):
    return flow.bits_per_dim(images if flow.num_classes else images["image"]).mean()


@pytest.mark.parametrize("name", DIGITS)
def test_an_epoch_on_a_model_s_own_data_does_no_harm(name):
    keras.utils.set_random_seed(0)
    flow, described = zoo.load(name), zoo.recipe(name).data
    test, images = data.arrays(described, "test"), data.arrays(described, "train")
    before = bits(flow, test)
    flow.fit(images if flow.num_classes else images["image"], epochs=1, verbose=0)
    assert bits(flow, test) <= before + 0.01


def halves(split):
    """The images of even digits and those of odd ones."""
    images = data.arrays(zoo.recipe("maf_digits_conditional").data, split)
    even = images["label"] % 2 == 0
    return images["image"][even], images["image"][~even]


def test_fine_tuning_on_other_digits_learns_them(tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("TFFLOWS_HOME", str(tmp_path))
    (even, odd), (_, odd_test) = halves("train"), halves("test")
    np.savez(tmp_path / "even.npz", train=even, validation=even[:100], test=even[:100])
    recipe = Recipe.from_toml(tiny_recipe)
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, epochs=20))
    train(Run(recipe, path=tmp_path / "even.npz"))
    flow = zoo.load("tiny")
    assert not any(each.trainable for each in flow._flatten_layers() if isinstance(each, BatchNorm))
    before = flow.bits_per_dim(odd_test).mean()
    flow.fit(odd, epochs=20, verbose=0)
    assert flow.bits_per_dim(odd_test).mean() < before - 0.01
