import dataclasses

import pytest

from tfflows import models
from tfflows.zoo.hints import read_arguments
from tfflows.zoo.recipe import Recipe

pytestmark = pytest.mark.backend_free
GOOD = """
name = "realnvp_tiny"
description = "A \\"small\\" one."
[data]
dataset = "digits"
shape = [8, 8, 1]
num_values = 17
source_values = 17
crop = [6, 6]
[model]
family = "realnvp"
[model.arguments]
filters = 32
blocks = [2, [3, 4]]
net = { width = 5, residual = true }
[train]
epochs = 5
batch_size = 64
learning_rate = 1
"""


def test_reading_gives_frozen_typed_values_and_defaults():
    recipe = Recipe.from_toml(GOOD)
    assert recipe.data.shape == (8, 8, 1)
    assert recipe.data.crop == (6, 6)
    assert type(recipe.train.learning_rate) is float
    assert recipe.model.arguments["blocks"] == (2, (3, 4))
    assert dict(recipe.model.arguments["net"]) == {"width": 5, "residual": True}
    assert recipe.evaluation.num_draws == 10
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.name = "other"
    with pytest.raises(TypeError):
        recipe.model.arguments["filters"] = 64


@pytest.mark.parametrize("key", ["rescale", "recompute"])
def test_an_argument_that_is_one_of_several_words_or_none(key):
    """Whichever of its two names Python gives to the type `Literal[...] | None`."""
    word = {"rescale": "gaussianize", "recompute": "inverse"}[key]
    for value in (word, None):
        assert read_arguments(models.glow, {key: value}, "model.arguments") == {key: value}
    with pytest.raises(ValueError, match=rf"^model\.arguments\.{key} is 'no', expected one of .*'{word}'$"):
        read_arguments(models.glow, {key: "no"}, "model.arguments")


def test_equal_recipes_hash_alike_and_different_ones_differ():
    recipe = Recipe.from_toml(GOOD)
    assert {recipe: 1}[Recipe.from_toml(GOOD)] == 1
    other = Recipe.from_toml(GOOD.replace("residual = true", "residual = false"))
    assert other != recipe
    assert hash(other) != hash(recipe)


@pytest.mark.parametrize("text", [GOOD, f'hub = "hf://org/name@v2"\n{GOOD}'])
def test_round_trips(tmp_path, text):
    recipe = Recipe.from_toml(text)
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.to_toml(), "utf-8")
    assert Recipe.from_toml(path) == recipe


@pytest.mark.parametrize("address", ["org/name", "hf://name", "hf://org/name@", "hf://../name", "hf://org/name@v1 "])
def test_an_address_is_one_of_a_repository(address):
    with pytest.raises(ValueError, match=r"is no address on the Hugging Face hub: write hf://ORG/NAME\[@REVISION\]"):
        Recipe.from_toml(f'hub = "{address}"\n{GOOD}')
