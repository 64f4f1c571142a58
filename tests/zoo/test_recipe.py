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

WEIGHTS = """
[weights]
version = 2
size = 1000
sha256 = "{}"
urls = ["https://example.org/a.zip", "file:///srv/a.zip", "http://127.0.0.1:8000/a.zip"]
""".format("0123456789abcdef" * 4)


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


@pytest.mark.parametrize("text", [GOOD, GOOD + WEIGHTS])
def test_round_trips(tmp_path, text):
    recipe = Recipe.from_toml(text)
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.to_toml(), "utf-8")
    assert Recipe.from_toml(path) == recipe


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("size = 1000\n", "", r"^weights lacks the key 'size'$"),
        ("urls", "url", r"^weights has no key 'url'; did you mean 'urls'\?$"),
        ("version = 2", "version = 0", r"^weights.version is 0, expected >= 1$"),
        ("size = 1000", "size = 0", r"^weights.size is 0, expected >= 1$"),
        ("abcdef", "ABCDEF", r"^weights.sha256 is '0123456789ABCDEF.*', expected 64 digits 0-9a-f$"),
        ('"https://example.org/a.zip", ', "5, ", r"^weights.urls is 5, expected a string$"),
        (
            "https://example.org",
            "http://example.org",
            "^'http://example.org/a.zip' is no URL to load from: give https:",
        ),
        ("https://example.org", "ftp://example.org", "is no URL to load from"),
        ("https://example.org", "https://", "is no URL to load from"),
        ("https://example.org", "https://[example.org", "is no URL to load from"),
        ("https://example.org", "https://user:secret@example.org", "is no URL to load from"),
        ("https://example.org", "http://127.0.0.1@example.org", "is no URL to load from"),
        ("https://example.org", "https://example.org/a b", "is no URL to load from"),
        ("file:///srv", "file://example.org/srv", "is no URL to load from"),
    ],
)
def test_mistakes_in_where_weights_are_published(old, new, sentence):
    bad = (GOOD + WEIGHTS).replace(old, new)
    assert bad != GOOD + WEIGHTS
    with pytest.raises(ValueError, match=sentence):
        Recipe.from_toml(bad)


@pytest.mark.parametrize("urls", ["[]", '"https://example.org/a.zip"'])
def test_mirrors_are_a_list(urls):
    with pytest.raises(ValueError, match=r"^weights\.urls is .*, expected "):
        Recipe.from_toml(GOOD + WEIGHTS.split("urls")[0] + f"urls = {urls}\n")
