"""A store of the tests' own, with one small model trained in it."""

import contextlib
import functools
import gc
import os
import shutil
import typing
from pathlib import Path

import pytest
from filelock import FileLock

# Tracing makes many small objects that live on: with Python's own threshold, looking at them takes a tenth of the time.
gc.set_threshold(20_000, 10, 10)
# TensorFlow asks at every operation whether its inputs keep a protocol, of which Python 3.11 collects the attributes
# anew each time: a fifth of the time of eager layers.
typing._get_protocol_attrs = functools.cache(typing._get_protocol_attrs)

DIGITS = """
[data]
dataset = "digits"
shape = [8, 8, 1]
num_values = 17
source_values = 17
"""
TINY = f"""
name = "tiny"
description = "A small RealNVP with all that a resumed run has to restore."
{DIGITS}flip = true

[model]
family = "realnvp"

[model.arguments]
num_levels = 1
num_blocks = 1
filters = 4
dropout = 0.1

[train]
epochs = 4
batch_size = 32
schedule = "cosine"
warmup_epochs = 0.5
clip_norm = 100.0
ema = 0.9

[evaluation]
num_draws = 3
num_importance_samples = 2
"""
LIMIT = 96


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory):
    """The store of this run of the tests, in place of the user's."""
    folder = tmp_path_factory.mktemp("home")
    os.environ["TFFLOWS_HOME"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory):
    """The path of a recipe."""
    path = tmp_path_factory.mktemp("recipes") / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def trained(home, tiny_recipe, tmp_path_factory, worker_id) -> Path:
    """The folder of version 1 of `tiny`, trained without interruption by the first worker of the tests that asks."""
    from tfflows.training import Run, train
    from tfflows.zoo.recipe import Recipe

    own = tmp_path_factory.getbasetemp()
    shared = (own if worker_id == "master" else own.parent) / "trained"
    with FileLock(f"{shared}.lock"):
        if not (shared / "tiny" / "1").exists():
            train(Run(Recipe.from_toml(tiny_recipe), seed=3, limit=LIMIT), output=shared)
    return shutil.copytree(shared / "tiny" / "1", home / "tiny" / "1")


@contextlib.contextmanager
def limited_files(size):
    """A context in which no file of this process grows beyond `size` bytes: for the writer, a full disk."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
