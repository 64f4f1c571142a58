"""`tfflows train --data FOLDER`: a data set of one's own, without a recipe."""

import re

import numpy as np
import pytest
from PIL import Image
from test_cli import run

from tfflows import data, zoo
from tfflows.data.proposal import FAMILIES
from tfflows.models import MODELS
from tfflows.zoo.recipe import Recipe


def write_images(folder, number, size, mode="RGB", seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for index in range(number):
        pixels = rng.integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / f"{index:03}.png")


@pytest.mark.backend_free
def test_a_folder_is_trained_on_without_a_recipe_and_its_model_sampled(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TFFLOWS_HOME", str(tmp_path / "home"))
    write_images(tmp_path / "My Cats", 36, (12, 16))
    write_images(tmp_path / "My Cats" / "more", 4, (20, 16))
    assert run("train", "--data", tmp_path / "My Cats", "--model", "nice", "--size", 8, "--epochs", 2) == 0
    printed = capsys.readouterr().out
    assert "40 images, colour, from 12x16 to 20x16, 256 values" in printed
    assert "split into 32 train, 4 validation, 4 test" in printed
    assert "nice_my_cats: nice (" in printed
    assert "images resized to 8x8, batches of 16" in printed
    written = tmp_path / "home" / "nice_my_cats" / "recipe.toml"
    assert str(written) in printed
    assert Recipe.from_toml(written) == Recipe.from_toml(written.parent / "1" / "recipe.toml")
    assert Recipe.from_toml(written).train.epochs == 2
    epochs = [line for line in printed.splitlines() if line.startswith("epoch ")]
    assert [re.match(r"epoch (\d)/2: .*val_bits_per_dim \d+\.\d+.* s$", line).group(1) for line in epochs] == ["1", "2"]
    command = re.search(r"next: tfflows (.*)", printed).group(1).split()
    assert run(*command[:-1], tmp_path / "samples.png") == 0
    with Image.open(tmp_path / "samples.png") as picture:
        assert picture.mode == "RGB"
    assert 'tfflows.zoo.load("nice_my_cats")' in printed
    assert zoo.load("nice_my_cats").event_shape == (8, 8, 3)


@pytest.mark.backend_free
def test_output_elsewhere_is_named_in_the_next_steps(tmp_path, capsys):
    np.savez(tmp_path / "own.npz", image=np.random.default_rng(0).integers(0, 17, (40, 8, 8)))
    assert run("train", "--data", tmp_path / "own.npz", "--model", "nice", "--epochs", 1, "--output", tmp_path) == 0
    printed = capsys.readouterr().out
    assert "grey, 8x8, 17 values" in printed
    assert "images as they are" in printed
    assert f"next: TFFLOWS_HOME={tmp_path} tfflows sample nice_own " in printed


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("sizes", "size", "crop", "shape"),
    [
        ([(28, 28)], None, None, (28, 28)),
        ([(30, 30)], None, (28, 28), (28, 28)),
        ([(24, 16)], None, None, (24, 16)),
        ([(480, 640)], None, (480, 480), (32, 32)),
        ([(480, 640)], 64, (480, 480), (64, 64)),
        ([(40, 100), (90, 36)], None, None, (32, 32)),
        ([(21, 50), (90, 36)], None, None, (20, 20)),
    ],
)
def test_images_are_cropped_and_resized_to_what_a_flow_can_halve(tmp_path, sizes, size, crop, shape):
    for index, each in enumerate(sizes):
        write_images(tmp_path / str(index), 10, each, "L", seed=index)
    recipe = data.propose(data.take_inventory(tmp_path), size=size)
    assert recipe.data.crop == crop
    assert recipe.data.shape == (*shape, 1)
    assert data.arrays(recipe.data, "train", path=tmp_path)["image"].shape[1:] == (*shape, 1)


@pytest.mark.backend_free
@pytest.mark.parametrize("family", sorted(MODELS))
@pytest.mark.parametrize("side", [8, 20, 28])
def test_every_proposal_builds(tmp_path, family, side):
    assert FAMILIES.keys() == MODELS.keys()
    np.savez(tmp_path / "own.npz", train=np.full((100, side, side, 3), 255), test=np.full((10, side, side, 3), 255))
    found = data.take_inventory(tmp_path / "own.npz")
    assert found.counts == {"train": 90, "validation": 10, "test": 10}
    assert found.made == ("validation",)
    recipe = data.propose(found, family)
    assert zoo.build(recipe).event_shape == (side, side, 3)
    assert recipe.train.batch_size == 16


@pytest.mark.backend_free
def test_the_batch_shrinks_to_what_memory_holds(tmp_path, monkeypatch):
    np.savez(tmp_path / "own.npz", image=np.full((1000, 64, 64), 255))
    found = data.take_inventory(tmp_path / "own.npz")
    monkeypatch.setattr("tfflows.data.proposal._machine_memory", lambda: 64e9)
    assert data.propose(found, size=64).train.batch_size == 64
    monkeypatch.setattr("tfflows.data.proposal._machine_memory", lambda: 1e9)
    assert 1 <= data.propose(found, size=64).train.batch_size < 64


@pytest.mark.backend_free
def test_a_name_of_the_zoo_is_not_taken(tmp_path):
    np.savez(tmp_path / "mnist.npz", image=np.full((100, 8, 8), 255))
    assert data.propose(data.take_inventory(tmp_path / "mnist.npz"), "glow").name == "glow_mnist.custom"
