"""The zoo: names lead to recipes, untrained and trained flows, or to a sentence that says what to do."""

import shutil

import keras
import pytest
from conftest import LIMIT

from tfflows import data, zoo
from tfflows.errors import CorruptError, NotFoundError, NotTrainedError
from tfflows.zoo import archive, store


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
    assert flow.optimizer.use_ema
    assert float(flow.optimizer.learning_rate) == pytest.approx(1e-3)
    before = flow.evaluate(images, verbose=0, return_dict=True)["bits_per_dim"]
    flow.fit(images, batch_size=32, epochs=3, verbose=0)
    assert flow.evaluate(images, verbose=0, return_dict=True)["bits_per_dim"] < before


def test_without_weights_a_flow_is_the_recipe_s_and_untrained(trained):
    keras.utils.set_random_seed(0)
    flow = zoo.load("tiny", weights=None)
    assert flow.count_params() == zoo.load("tiny").count_params()
    assert int(flow.step) == 0
    with pytest.raises(ValueError, match="expected 'trained' or None"):
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


def test_published_weights_are_downloaded_and_are_the_trained_ones(trained, tiny_recipe, tmp_path, monkeypatch):
    archive.pack(trained, tmp_path / "tiny.zip")
    size, total = (tmp_path / "tiny.zip").stat().st_size, store.sha256(tmp_path / "tiny.zip")
    url = (tmp_path / "tiny.zip").as_uri()
    table = f'[weights]\nversion = 1\nsize = {size}\nsha256 = "{total}"\nurls = ["{url}"]\n'
    (tmp_path / "tiny.toml").write_text(tiny_recipe.read_text() + table)
    expected = zoo.load("tiny").sample(4, seed=0)
    monkeypatch.setenv("TFFLOWS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(zoo, "packaged_folder", lambda folder: tmp_path)
    flow = zoo.load("tiny")
    assert (flow.sample(4, seed=0) == expected).all()
    folder = tmp_path / "home" / ".downloads" / "tiny" / "1"
    assert (folder / "manifest.json").read_bytes() == (trained / "manifest.json").read_bytes()
