"""The zoo: names lead to recipes, untrained and trained flows, or to a sentence that says what to do."""

import dataclasses
import shutil

import keras
import numpy as np
import pytest
from conftest import LIMIT
from filelock import FileLock

from tfflows import data, zoo
from tfflows.cli import main
from tfflows.errors import CorruptError, NotFoundError, NotTrainedError, StoreError
from tfflows.zoo import store


def test_every_recipe_of_the_zoo_is_listed_under_its_own_name():
    names = zoo.list_models()
    assert {"realnvp_digits", "realnvp_celeba", "nice_mnist"} <= set(names)
    assert names == sorted(names)
    assert all(zoo.recipe(name).name == name for name in names)


def test_models_are_listed_by_pattern_and_by_whether_they_are_trained(trained):
    assert "realnvp_celeba" in zoo.list_models("*_celeba")
    assert all(name.endswith("_celeba") for name in zoo.list_models("*_celeba"))
    assert "tiny" in zoo.list_models(trained=True)
    assert "realnvp_celeba" in zoo.list_models("realnvp_*", trained=False)
    assert set(zoo.list_models(trained=True)).isdisjoint(zoo.list_models(trained=False))


def test_a_loaded_flow_samples_evaluates_and_trains_on(trained):
    flow = zoo.load("tiny")
    images = data.arrays(zoo.recipe("tiny").data, "test", LIMIT)["image"]
    samples = flow.sample(4, seed=0)
    assert samples.shape == (4, 8, 8, 1)
    assert samples.max() < 17
    before = flow.evaluate(images, verbose=0, return_dict=True)["bits_per_dim"]
    flow.optimizer.learning_rate = 1e-3
    flow.fit(images, batch_size=32, epochs=3, verbose=0)
    assert flow.evaluate(images, verbose=0, return_dict=True)["bits_per_dim"] < before


def test_without_weights_a_flow_is_the_recipe_s_and_untrained(trained):
    keras.utils.set_random_seed(0)
    flow = zoo.load("tiny", weights=None)
    assert flow.count_params() == zoo.load("tiny").count_params()
    assert int(flow.step) == 0
    with pytest.raises(ValueError, match="expected 'trained', 'packaged' or None"):
        zoo.load("tiny", weights="imagenet")


def test_an_untrained_entry_names_the_command_that_trains_it():
    for function in (zoo.load, zoo.artefact):
        with pytest.raises(NotTrainedError, match="`tfflows train realnvp_celeba`"):
            function("realnvp_celeba")


@pytest.mark.parametrize("function", [zoo.recipe, zoo.build, zoo.load, zoo.artefact])
def test_a_misspelt_name_suggests_the_nearest(function):
    with pytest.raises(NotFoundError, match="no model 'realnpv_digit': did you mean 'realnvp_digits'"):
        function("realnpv_digit")


def test_a_version_is_loaded_by_number_and_an_altered_one_is_refused(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("TFFLOWS_HOME", str(tmp_path))
    for version in ("1", "2"):
        shutil.copytree(trained, tmp_path / "tiny" / version)
    weights = tmp_path / "tiny" / "2" / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CorruptError, match=r"2/model\.weights\.h5 is not the file that was written"):
        zoo.load("tiny")
    assert zoo.load("tiny", version=1).count_params() > 0
    with pytest.raises(NotFoundError, match="tiny has no version 3: there is 1, 2"):
        zoo.load("tiny", version=3)


def variants(recipe):
    """Runs of a recipe of the zoo that are not what the zoo says."""
    from tfflows.training import Run

    longer = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, epochs=99))
    return {"limited": Run(recipe, limit=100), "other data": Run(recipe, path="x.npz"), "changed": Run(longer)}


@pytest.mark.parametrize("kind", ["limited", "other data", "changed"])
def test_a_run_that_is_not_the_zoo_s_gets_a_name_of_its_own(kind):
    recipe = zoo.recipe("realnvp_digits")
    run = variants(recipe)[kind]
    assert run.named().name == run.named().recipe.name == "realnvp_digits.custom"
    assert dataclasses.replace(run, name="mine").named().recipe.name == "mine"
    assert dataclasses.replace(run, recipe=recipe, limit=None, path=None, seed=5).named().name == "realnvp_digits"


@pytest.mark.backend_free
def test_a_run_on_other_data_does_not_take_the_place_of_a_packaged_model(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TFFLOWS_HOME", str(tmp_path))
    expected = zoo.load("nice_digits").sample(2, seed=0)
    images = tmp_path / "images.npz"
    np.savez(images, image=data.arrays(zoo.recipe("nice_digits").data, "train", 640)["image"])
    assert main(["train", "nice_digits", "--data", str(images), "--limit", "64", "--epochs", "5"]) == 0
    assert "stored as nice_digits.custom" in capsys.readouterr().out
    assert main(["evaluate", "nice_digits.custom", "--limit", "32"]) == 0
    assert f"32 images of {images}" in capsys.readouterr().out
    assert (zoo.load("nice_digits").sample(2, seed=0) == expected).all()
    assert zoo.origin("nice_digits") == "packaged"
    assert zoo.origin("nice_digits.custom") == "yours"
    assert zoo.load("nice_digits.custom").count_params() > 0
    assert main(["list", "nice_digits*"]) == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert (lines["nice_digits"][2], lines["nice_digits.custom"][2]) == ("packaged", "yours")
    assert lines["nice_digits.custom"][1].endswith("*")
    assert main(["remove", "nice_digits.custom"]) == 0
    assert "nice_digits.custom/1" in capsys.readouterr().out
    assert "nice_digits.custom" not in zoo.list_models()
    assert not (tmp_path / "nice_digits.custom").exists()


def test_removal_is_of_what_the_user_trained_alone(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("TFFLOWS_HOME", str(tmp_path))
    for version in ("1", "2"):
        shutil.copytree(trained, tmp_path / "tiny" / version)
    assert zoo.remove("tiny", 2) == [tmp_path / "tiny" / "2"]
    assert store.versions(tmp_path / "tiny") == [1]
    with pytest.raises(NotFoundError, match=r"no tiny/2 in .* to remove"):
        zoo.remove("tiny", 2)
    with pytest.raises(NotFoundError, match="to remove: it comes with tfflows"):
        zoo.remove("realnvp_digits")
    with FileLock(tmp_path / "tiny" / ".training.lock"), pytest.raises(StoreError, match="is in training"):
        zoo.remove("tiny")
    assert zoo.remove("tiny") == [tmp_path / "tiny" / "1"]


def test_loading_says_which_of_two_models_of_one_name_it_takes(trained, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TFFLOWS_HOME", str(tmp_path))
    zoo.load("nice_digits")
    assert not caplog.records
    own = shutil.copytree(zoo.artefact("nice_digits"), tmp_path / "nice_digits" / "4")
    zoo.load("nice_digits")
    assert f"loading nice_digits from {own}, which you trained" in caplog.text
    assert zoo.artefact("nice_digits", packaged=True) != own
    caplog.clear()
    zoo.load("nice_digits", weights="packaged")
    assert not caplog.records


def test_messages_list_what_there_is():
    with pytest.raises(NotFoundError, match=r"no model 'resnet50': there are glow_celeba, .*, realnvp_svhn"):
        zoo.load("resnet50")
    with pytest.raises(NotTrainedError, match=r"models of its family are nice_digits, nice_mnist"):
        zoo.load("nice_svhn")
