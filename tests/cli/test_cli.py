"""The command line: what it prints, and one sentence with exit code 2 for what it cannot do."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import LIMIT
from PIL import Image

from tfflows import zoo
from tfflows.cli import main
from tfflows.errors import NotFoundError
from tfflows.zoo import store
from tfflows.zoo.recipe import Recipe

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("list", "show", "train", "evaluate", "score", "sample", "export", "push", "remove", "serve")


def run(*arguments):
    """The exit code of a command in this process."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_that_names_the_command(command, capsys):
    assert run(command, "--help") == 0
    assert f"example: tfflows {command}" in capsys.readouterr().out


@pytest.mark.backend_free
def test_help_and_list_do_not_wait_for_tensorflow():
    """Timed in a process of its own; the best of three, for other processes may hold the machine."""
    for argument in ("--help", "list"):
        seconds = []
        for _ in range(3):
            start = time.monotonic()
            command = [sys.executable, "-m", "tfflows", argument]
            text = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
            seconds.append(time.monotonic() - start)
        assert min(seconds) < 1
        assert "list" in text or "realnvp_digits" in text


def test_list_and_show_tell_trained_from_untrained(trained, capsys):
    metrics = json.loads((trained / "metrics.json").read_text())
    assert run("list") == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert f"{metrics['bits_per_dim']:.3f}*" in lines["tiny"]
    assert "--limit" in lines["*"]
    assert lines["realnvp_celeba"].split()[1] == "-"
    assert lines["realnvp_digits"].split()[1].replace(".", "").isdigit()
    assert run("show", "tiny") == 0
    shown = capsys.readouterr().out
    assert 'family = "realnvp"' in shown
    assert str(trained) in shown
    assert f"at most {LIMIT} images of each split (--limit)" in shown
    assert run("show", "realnvp_celeba") == 0
    assert "tfflows train realnvp_celeba" in capsys.readouterr().out


@pytest.mark.backend_free
def test_show_prints_a_recipe_of_ones_own(tiny_recipe, capsys):
    assert run("show", tiny_recipe) == 0
    assert Recipe.from_toml(capsys.readouterr().out) == Recipe.from_toml(tiny_recipe)


def test_show_prints_the_recipe_that_the_weights_were_trained_with(trained, tiny_recipe, tmp_path, monkeypatch, capsys):
    (tmp_path / "tiny.toml").write_text(tiny_recipe.read_text().replace("epochs = 4", "epochs = 99"))
    monkeypatch.setattr(zoo, "packaged_folder", lambda folder: tmp_path)
    assert zoo.recipe("tiny").train.epochs == 99
    assert run("show", "tiny") == 0
    assert "epochs = 4\n" in capsys.readouterr().out


def test_evaluate_repeats_the_published_figures(trained, capsys):
    metrics = json.loads((trained / "metrics.json").read_text())
    assert run("evaluate", "tiny", "--limit", LIMIT, "--batch-size", 32, "--robustness") == 0
    printed = capsys.readouterr().out
    assert f"test bits/dim {metrics['bits_per_dim']:.4f}, mean of 3 independent single-sample bounds" in printed
    assert f"{metrics['importance_bits_per_dim']:.4f} by the importance-weighted bound of 2 samples" in printed
    assert f"| test images | {LIMIT} | everywhere |" in printed
    assert "| photographs | 256 | everywhere |" in printed


def test_sample_draws_the_images_that_the_seed_fixes(trained, tmp_path):
    pictures = []
    for seed, name in [(5, "a.png"), (5, "b.png"), (6, "c.png")]:
        assert run("sample", "tiny", "--num", 6, "--seed", seed, "--output", tmp_path / name) == 0
        with Image.open(tmp_path / name) as picture:
            pictures.append(np.asarray(picture))
    assert pictures[0].shape == (2 * 34 + 2, 3 * 34 + 2)
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert (pictures[0] != pictures[2]).any()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="SavedModels need TensorFlow")
def test_export_writes_the_version_folder_and_overwrites_nothing(trained, tmp_path, capsys):
    assert run("export", "tiny", tmp_path) == 0
    folder = tmp_path / "tiny" / "1"
    assert capsys.readouterr().out.strip() == str(folder)
    store.verify(folder)
    assert (folder / "saved_model.pb").read_bytes() == (trained / "saved_model.pb").read_bytes()
    assert run("export", "tiny", tmp_path) == 2
    assert "exists" in capsys.readouterr().err


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="SavedModels need TensorFlow")
def test_serving_is_added_to_an_export_that_exists(trained, tmp_path, capsys):
    assert run("export", "tiny", tmp_path) == 0
    before = (tmp_path / "tiny" / "1" / "saved_model.pb").stat().st_mtime_ns
    assert run("export", "tiny", tmp_path, "--serving") == 0
    assert (tmp_path / "tiny" / "1" / "saved_model.pb").stat().st_mtime_ns == before
    assert 'name: "tiny"' in (tmp_path / "models.config").read_text()
    assert (tmp_path / "docker-compose.yml").is_file()
    other = tmp_path / "other"
    store.publish(other / "tiny", lambda folder: (folder / "recipe.toml").write_text("another"), 1)
    assert run("export", "tiny", other, "--serving") == 2
    assert "exists" in capsys.readouterr().err


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="SavedModels need TensorFlow")
def test_export_makes_the_savedmodel_that_weights_trained_on_jax_lack(trained, tmp_path, monkeypatch):
    def write(folder):
        for name in ("recipe.toml", "metrics.json", "model.weights.h5"):
            shutil.copy(trained / name, folder)

    monkeypatch.setenv("TFFLOWS_HOME", str(tmp_path / "home"))
    store.publish(tmp_path / "home" / "tiny", write, 4)
    assert run("export", "tiny", tmp_path / "models") == 0
    folder = tmp_path / "models" / "tiny" / "4"
    store.verify(folder)
    assert (folder / "saved_model.pb").is_file()
    assert (folder / "model.weights.h5").read_bytes() == (trained / "model.weights.h5").read_bytes()


@pytest.mark.backend_free
@pytest.mark.skipif(sys.platform == "win32", reason="pipes of Unix")
def test_a_reader_that_has_enough_is_no_error():
    command = [sys.executable, "-m", "tfflows", "list", "nice*"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_debug_shows_where_an_error_came_from(trained):
    with pytest.raises(NotFoundError):
        run("--debug", "show", "absent")


def test_training_whose_reader_leaves_says_so_and_goes_on_later(tmp_path, tiny_recipe):
    command = [sys.executable, "-m", "tfflows", "train", str(tiny_recipe), "--limit", "96", "--output", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.readline()  # and no more: the next line of an epoch has no reader
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, "--resume continues" in errors) == (141, True), errors
    assert subprocess.run([*command, "--resume"], capture_output=True, check=False).returncode == 0
