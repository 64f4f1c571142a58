"""The Hugging Face hub: the real client, and a server on this machine that speaks the hub's API."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hub_server import running_hub

from tfflows import zoo
from tfflows.cli import main
from tfflows.errors import CorruptError, ExistsError, HubError, InputError
from tfflows.zoo import store

pytestmark = [
    pytest.mark.backend_free,
    # huggingface_hub 2.4 uploads by an argument that its client of HTTP no longer likes.
    pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning"),
]
huggingface_hub = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")
NAME, VERSION = "nice_digits", 1  # small, and here without training


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """The environment variables of a client of a hub on this machine, and the hub."""
    with running_hub() as hub:
        cache = tmp_path_factory.mktemp("hub")
        variables = {"HF_ENDPOINT": hub.url, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "hf_test"}
        yield variables | {"HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"}, hub


@pytest.fixture
def hub(client, monkeypatch):
    """The hub, for this process: huggingface_hub reads the environment when it is first imported, and that was."""
    variables, hub = client
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", f"{variables['HF_HOME']}/hub")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    return hub


@pytest.fixture
def pushed(hub):
    """The address of a model that comes with tfflows, which is pushed by the first test that asks for it."""
    if f"me/{NAME}" not in hub.repositories:
        assert zoo.push(NAME, f"hf://me/{NAME}") == f"hf://me/{NAME}@v1"
    return f"hf://me/{NAME}"


def run(code, variables, **more):
    """What a new process prints."""
    environment = os.environ | variables | more
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_what_was_pushed_is_a_version_folder_a_keras_model_and_a_card(hub, pushed):
    repository = hub.repositories[f"me/{NAME}"]
    assert repository.references["v1"] == repository.references["main"]
    files = repository.commits[repository.references["main"]]
    folder = zoo.artefact(NAME)
    own = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    pictures = {path for path in files if path.startswith("pictures/")}
    assert files.keys() == own | pictures | {"README.md", "config.json", "metadata.json"}
    for name in own - {"manifest.json"}:
        assert files[name] == (folder / name).read_bytes()
    card = files["README.md"].decode()
    metadata = huggingface_hub.ModelCard(card).data
    assert metadata.library_name == "tfflows"
    assert metadata.license == "apache-2.0"
    assert "normalizing-flow" in metadata.tags
    (result,) = metadata.eval_results
    assert result.metric_type == "bits_per_dim"
    assert result.metric_value == pytest.approx(zoo.metrics(NAME)["bits_per_dim"], abs=1e-4)
    assert f'tfflows.zoo.load("{pushed}@v1")' in card
    assert len(pictures) >= 4
    assert set(re.findall(r"!\[[^]]*\]\(([^)]+)\)", card)) == pictures
    with pytest.raises(ExistsError, match=f"{pushed} has v1: versions are never overwritten"):
        zoo.push(NAME, pushed)


def test_an_address_takes_the_place_of_a_name(hub, pushed, tmp_path, capsys):
    images = zoo.load(NAME).sample(4, seed=0)
    expected = zoo.load(NAME).log_prob(images)
    for address in (pushed, f"{pushed}@v1"):
        np.testing.assert_array_equal(zoo.load(address).log_prob(images), expected)
    assert zoo.recipe(pushed) == zoo.recipe(NAME)
    assert zoo.metrics(pushed) == zoo.metrics(NAME)
    before = len(hub.requests)
    assert main(["export", pushed, str(tmp_path)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / NAME / "1")
    assert not [path for method, path in hub.requests[before:] if method == "GET" and "/resolve/" in path]  # cached
    with pytest.raises(InputError, match=f"{pushed}@v2"):
        zoo.load(pushed, version=2)


def test_what_came_from_the_hub_is_pushed_on_and_exported_before_it_is_served(hub, pushed, capsys):
    assert zoo.push(pushed, "hf://you/copy") == "hf://you/copy@v1"
    assert zoo.load("hf://you/copy").sample(2, seed=0).tolist() == zoo.load(NAME).sample(2, seed=0).tolist()
    assert main(["serve", "hf://you/copy"]) == 2
    assert "`tfflows export hf://you/copy DIR`, then `TFFLOWS_HOME=DIR tfflows serve copy`" in capsys.readouterr().err


def test_where_images_of_ones_own_lie_is_not_published(hub, pushed, tmp_path, monkeypatch):
    def write(folder):
        for path in zoo.artefact(NAME, packaged=True).iterdir():
            if path.is_file() and path.name != store.MANIFEST:
                (folder / path.name).write_bytes(path.read_bytes())
        metrics = zoo.metrics(NAME) | {"path": "/home/me/secret/mnist", "data": "secret/mnist"}
        (folder / "metrics.json").write_text(json.dumps(metrics))
        recipe = dataclasses.replace(zoo.recipe(NAME), name="mine")
        (folder / "recipe.toml").write_text(recipe.to_toml())

    monkeypatch.setenv("TFFLOWS_HOME", str(tmp_path))
    store.publish(tmp_path / "mine", write)
    zoo.push("mine", "hf://me/mine")
    repository = hub.repositories["me/mine"]
    files = repository.commits[repository.references["main"]]
    assert not [name for name, content in files.items() if b"secret" in content]
    assert "ylecun" not in files["README.md"].decode()
    assert zoo.metrics("hf://me/mine")["path"] == "mnist"  # and the manifest agrees


def test_a_recipe_leads_to_the_hub(hub, pushed, tmp_path, monkeypatch, capsys):
    recipe = dataclasses.replace(zoo.recipe(NAME), name="elsewhere", hub=pushed)
    (tmp_path / "elsewhere.toml").write_text(recipe.to_toml())
    monkeypatch.setattr(zoo, "packaged_folder", lambda folder: tmp_path)
    assert zoo.origin("elsewhere") is None
    assert main(["list", "elsewhere"]) == 0
    assert re.search(r"elsewhere +on hub", capsys.readouterr().out)
    assert zoo.artefact("elsewhere") == zoo.artefact(pushed)


def test_what_is_not_as_its_manifest_says_is_refused_and_deleted(hub, pushed, tmp_path):
    repository = hub.repositories[f"me/{NAME}"]
    files = dict(repository.commits[repository.references["v1"]])
    weights = files["model.weights.h5"]
    altered = repository.commit("main", files | {"model.weights.h5": weights[:-1] + b"!"})
    with pytest.raises(CorruptError, match=r"is not as its manifest says .*model\.weights\.h5"):
        zoo.load(pushed)
    cache = Path(constants.HF_HUB_CACHE)
    assert altered not in {path.name for path in cache.glob("*/snapshots/*")}
    manifest = json.loads(files["manifest.json"])
    manifest["sha256"]["../outside"] = "0"
    repository.commit("main", files | {"manifest.json": json.dumps(manifest).encode()})
    with pytest.raises(CorruptError, match=r"manifest\.json is missing or damaged"):
        zoo.load(pushed)
    repository.references["main"] = repository.references["v1"]
    assert zoo.artefact(pushed).name == repository.references["v1"]


def test_a_new_process_loads_by_keras_too_and_goes_on_offline(client, hub, pushed, tmp_path, monkeypatch):
    images = zoo.load(NAME).sample(4, seed=0)
    np.save(tmp_path / "images.npy", images)
    code = (
        f"import numpy, keras, tfflows; images = numpy.load({str(tmp_path / 'images.npy')!r}, allow_pickle=False)\n"
        f"flows = tfflows.zoo.load('{pushed}@v1'), keras.saving.load_model('{pushed}')\n"
        f"numpy.save({str(tmp_path / 'log_prob.npy')!r}, [flow.log_prob(images) for flow in flows])"
    )
    variables, _ = client
    run(code, variables, HF_HOME=str(tmp_path / "cache"))
    expected = zoo.load(NAME).log_prob(images)
    np.testing.assert_allclose(np.load(tmp_path / "log_prob.npy", allow_pickle=False), [expected] * 2, rtol=1e-6)

    before = len(hub.requests)
    code = "import tfflows.zoo as zoo; print(zoo.artefact('{}'))".format(f"{pushed}@v1")
    offline = {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"}
    folder = Path(run(f"import sys; sys.argv = ['tfflows']\n{code}", variables, **offline).split()[-1])
    assert store.manifest(folder).keys() > {"recipe.toml", "model.weights.h5", "config.json"}
    assert len(hub.requests) == before


def test_what_the_hub_does_not_have_is_one_sentence(hub, tmp_path, monkeypatch, capsys):
    with pytest.raises(HubError, match=r"hf://me/nothing cannot be used \(404"):
        zoo.load("hf://me/nothing")
    with pytest.raises(HubError, match=r"hf://me/a--b cannot be used"):
        zoo.load("hf://me/a--b")
    with pytest.raises(InputError, match="leave out @v7"):
        zoo.push("realnvp_digits", "hf://me/digits@v7")
    assert main(["push", "realnvp_digits", "digits"]) == 2
    assert "write hf://ORG/NAME" in capsys.readouterr().err
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    with pytest.raises(HubError, match="cannot be downloaded"):
        zoo.load("hf://me/other")
    with pytest.raises(HubError, match="cannot be used"):
        zoo.push("realnvp_digits", "hf://me/digits")
    assert not list(Path(constants.HF_HUB_CACHE).glob("*nothing/snapshots/*"))
