import dataclasses

import pytest

from tfflows.recipe import Recipe

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
        ("epochs = 5", "epoch = 5", r"^train has no key 'epoch'; did you mean 'epochs'\?$"),
        ("[train]", "[trian]", r"^recipe has no key 'trian'; did you mean 'train'\?$"),
        ("epochs = 5\n", "", r"^train lacks the key 'epochs'$"),
        ('name = "realnvp_tiny"\n', "", r"^recipe lacks the key 'name'$"),
        ("epochs = 5", 'epochs = "5"', r"^train.epochs is '5', expected an integer$"),
        ("epochs = 5", "epochs = true", r"^train.epochs is True, expected an integer$"),
        ("epochs = 5", "epochs = 0", r"^train.epochs is 0, expected >= 1$"),
        ("learning_rate = 1", "learning_rate = -1", r"^train.learning_rate is -1.0, expected > 0$"),
        ("learning_rate = 1", 'optimizer = "adan"', r"^train.optimizer is 'adan', expected one of 'adam', "),
        ("learning_rate = 1", "ema = 1.0", r"^train.ema is 1.0, expected between 0 and 1$"),
        ("[8, 8, 1]", "[8, 8]", r"^data.shape is \[8, 8\], expected 3 integers in brackets$"),
        ("[8, 8, 1]", "[8, 8, 2]", r"^data.shape is \(8, 8, 2\), expected 1 or 3 channels$"),
        (
            "num_values = 17\n",
            "num_values = 18\n",
            r"^data.num_values is 18, expected 2 to source_values, which is 17$",
        ),
        ('family = "realnvp"', 'family = "realnvp"\nconditional = true', r"data.num_classes is missing"),
        ("[data]", "[data", r"(?i)expected ']'"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, old, new, sentence):
    bad = GOOD.replace(old, new, 1)
    assert bad != GOOD
    with pytest.raises(ValueError, match=sentence):
        Recipe.from_toml(bad)
    path = tmp_path / "bad.toml"
    path.write_text(bad, "utf-8")
    with pytest.raises(ValueError, match=r"bad\.toml: ") as error:
        Recipe.from_toml(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("size = 1000\n", "", r"^weights lacks the key 'size'$"),
        ("urls", "url", r"^weights has no key 'url'; did you mean 'urls'\?$"),
        ("version = 2", "version = 0", r"^weights.version is 0, expected >= 1$"),
        ("size = 1000", "size = 0", r"^weights.size is 0, expected the bytes of the archive$"),
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
