"""The wheel: built through the sdist, installed in a new environment, run outside the tree."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build", reason="builds the wheel; part of the extra `test`")
ROOT = Path(__file__).resolve().parents[1]


def run(*command, cwd):
    """Output of a command that sees neither the repository nor what the user has trained."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["TFFLOWS_HOME"] = str(Path(cwd) / "home")
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, because setuptools writes into the tree that it builds."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".*", "build", "dist", "venv", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, folder / "source", ignore=ignored)
    run(sys.executable, "-m", "build", "--outdir", folder / "dist", folder / "source", cwd=folder)
    (path,) = (folder / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A new environment with the wheel, which borrows the dependencies of the one that runs the tests."""
    folder = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", wheel, cwd=folder)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_the_wheel_holds_every_module_recipe_and_trained_weights_and_is_small(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "tfflows").rglob("*.py")}
    templates = {str(path.relative_to(ROOT)) for path in (ROOT / "tfflows/export/templates").iterdir()}
    recipes = {f"tfflows/_zoo/{path.name}" for path in (ROOT / "zoo").glob("*.toml")}
    saved = ROOT / "saved_models"
    weights = {f"tfflows/_saved_models/{path.relative_to(saved)}" for path in saved.glob("*/*/model.weights.h5")}
    assert recipes
    assert weights
    assert modules | templates | recipes | weights <= held
    assert wheel.stat().st_size <= 60e6


LOAD = """
import socket, sys
import numpy as np, tfflows
from tfflows import zoo

def refuse(*arguments):
    raise OSError("no network")

socket.socket.connect = refuse
print(tfflows.__file__)
with np.load(sys.argv[1]) as values:
    for name in zoo.list_models(trained=True):
        flow, images = zoo.load(name), values[f"{name}.images"][:1]
        log_prob = flow(images if flow.num_classes is None else {"image": images, "label": np.zeros(1, "int32")})
        np.testing.assert_allclose(log_prob, values[f"{name}.log_prob"][:1], rtol=1e-4, err_msg=name)
        print(name)
    np.testing.assert_array_equal(zoo.load("nice_digits").sample(4, seed=0), values["nice_digits.samples"][:4])
"""


def test_the_installed_wheel_runs_outside_the_tree(environment, tmp_path):
    """With every recipe, and without the network with every trained model: one score of each is as it should be."""
    listing = run(environment / "bin" / "tfflows", "list", cwd=tmp_path)
    for path in (ROOT / "zoo").glob("*.toml"):
        assert path.stem in listing
    values = ROOT / "tests" / "reference" / "entries.npz"
    file, *loaded = run(environment / "bin" / "python", "-c", LOAD, values, cwd=tmp_path).splitlines()
    assert Path(file).is_relative_to(environment)
    assert set(loaded) == {path.parents[1].name for path in (ROOT / "saved_models").glob("*/*/recipe.toml")}


def test_an_editable_install_is_found_from_the_folder_above_the_clone(tmp_path):
    """There Python also sees the clone itself, a folder called tfflows without an __init__.py."""
    clone = tmp_path / "tfflows"
    ignored = shutil.ignore_patterns(
        ".*", "build", "dist", "*.egg-info", "__pycache__", "saved_models", "tests", "docs"
    )
    shutil.copytree(ROOT, clone, ignore=ignored)
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "-e", clone, cwd=tmp_path)
    code = "import importlib.util; print(importlib.util.find_spec('tfflows').origin)"
    assert run(python, "-c", code, cwd=tmp_path).strip() == str(clone / "tfflows" / "__init__.py")
