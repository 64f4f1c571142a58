"""How the package starts: backends that are missing, and what TensorFlow prints as it loads."""

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest
from test_cli import run

from tfflows._backend.startup import quiet_import
from tfflows.errors import TfflowsImportError

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.backend_free
LEFT_OUT = ("TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND", "PYTHONWARNINGS")


def python(*arguments, **environment):
    """The result of a new interpreter without the tests' settings."""
    given = {name: value for name, value in os.environ.items() if name not in LEFT_OUT} | environment
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=given, capture_output=True, text=True)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="what TensorFlow prints")
def test_the_zoo_prints_nothing_of_its_own():
    result = python("-c", "import tfflows; print(tfflows.zoo.load('nice_digits').sample(1).shape)")
    assert (result.returncode, result.stdout, result.stderr) == (0, "(1, 8, 8, 1)\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="file descriptors of Unix")
def test_what_is_no_noise_is_printed_in_the_end(capfd, monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    with quiet_import():
        os.write(2, b"I0000 port.cc:153] oneDNN custom operations are on.\na disk is broken\n")
    assert capfd.readouterr().err == "a disk is broken\n"


@pytest.mark.parametrize("name", ["torch", "jax", "tensorflow"])
def test_a_backend_that_is_missing_is_one_sentence(name, monkeypatch):
    sentence = f"'{name}', which is not installed: set .* KERAS_BACKEND to '"
    with pytest.raises(TfflowsImportError, match=sentence), quiet_import():
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    with pytest.raises(ModuleNotFoundError, match="wheel"), quiet_import():
        raise ModuleNotFoundError("No module named 'wheel'", name="wheel")


def test_the_command_line_says_it_with_exit_code_2():
    result = python("-m", "tfflows", "sample", "nice_digits", KERAS_BACKEND="torch")
    assert result.returncode == 2
    assert result.stderr.startswith("tfflows: ")
    assert len(result.stderr.splitlines()) == 1
    assert "KERAS_BACKEND" in result.stderr


def test_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"tfflows {importlib.metadata.version('tfflows')}\n"
