"""Training: a run that is killed and resumed ends where one that was not ends; one that diverges says so."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from conftest import LIMIT

from tfflows import data, zoo
from tfflows.cli import main
from tfflows.errors import DivergedError, StoreError
from tfflows.training import Run, checkpoints, train
from tfflows.training.publish import device, emulates_bfloat16
from tfflows.zoo import store
from tfflows.zoo.builder import compile_flow, make_optimizer
from tfflows.zoo.recipe import Recipe, TrainConfig

ROOT = Path(__file__).resolve().parents[2]


def read_weights(folder):
    values = {}

    def visit(name, node):
        if isinstance(node, h5py.Dataset):
            values[name] = node[()]

    with h5py.File(folder / "model.weights.h5") as file:
        file.visititems(visit)
    return values


STOPS_IN_EPOCH_3 = """
import os, signal, sys
from tfflows import cli
from tfflows.training import checkpoints

class Stopping(checkpoints.Checkpoints):
    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if (self.epoch, batch) == (3, 1):
            os.kill(os.getpid(), signal.SIGSTOP)

checkpoints.Checkpoints = Stopping
sys.exit(cli.main())
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGSTOP, SIGKILL")
def test_killed_and_resumed_in_pieces_equals_uninterrupted_bit_for_bit(trained, tiny_recipe, tmp_path):
    recipe, work = Recipe.from_toml(tiny_recipe), tmp_path / "tiny" / ".training"
    run = Run(recipe, seed=3, limit=LIMIT)
    options = ["--seed", "3", "--limit", str(LIMIT), "--output", str(tmp_path)]
    command = [sys.executable, "-c", STOPS_IN_EPOCH_3, "train", str(tiny_recipe), "--resume", *options]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
    with pytest.raises(StoreError, match="another process is training"):
        train(run, output=tmp_path)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert store.versions(work) == [2]
    assert store.versions(tmp_path / "tiny") == []

    with pytest.raises(StoreError, match="stopped after epoch 2: go on with --resume"):
        train(run, output=tmp_path)
    with pytest.raises(StoreError, match="started with seed = 3, not 4"):
        train(dataclasses.replace(run, seed=4), output=tmp_path, resume=True)
    longer = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, epochs=9))
    with pytest.raises(StoreError, match=r"recipe\.train\.epochs = 4, not 9"):
        train(dataclasses.replace(run, recipe=longer), output=tmp_path, resume=True)

    assert train(run, output=tmp_path, minutes=1e-3, resume=True) is None
    assert store.versions(work) == [3]
    resumed = train(run, output=tmp_path, resume=True)
    expected, actual = read_weights(trained), read_weights(resumed)
    assert expected.keys() == actual.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(value, actual[name], err_msg=name)
    expected, actual = (json.loads((folder / "metrics.json").read_text()) for folder in (trained, resumed))
    for metrics in (expected, actual):
        del metrics["seconds"]
        for epoch in metrics["history"]:
            del epoch["seconds"]
    assert actual == expected
    assert not work.exists()


def test_an_artefact_is_complete_and_says_how_it_was_made(trained, tiny_recipe):
    store.verify(trained)
    files = {path.relative_to(trained).as_posix() for path in trained.rglob("*") if path.is_file()}
    assert files >= {"recipe.toml", "metrics.json", "model.weights.h5", "samples.png", "manifest.json"}
    assert Recipe.from_toml(trained / "recipe.toml") == Recipe.from_toml(tiny_recipe)
    assert not any("optimizer" in name for name in read_weights(trained))
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["bits_per_dim"] == pytest.approx(np.mean(metrics["draws"]))
    assert len(set(metrics["draws"])) == 3
    assert metrics["importance_bits_per_dim"] < metrics["bits_per_dim"]
    assert metrics["validation_bits_per_dim"] == min(e["val_bits_per_dim"] for e in metrics["history"])
    assert [epoch["epoch"] for epoch in metrics["history"]] == [1, 2, 3, 4]
    assert (metrics["data"], metrics["path"]) == ("digits/1.0.0", None)
    assert metrics["num_images"] == metrics["limit"] == LIMIT


def test_training_lowers_the_bits_and_the_averages_are_what_is_published(trained):
    metrics = json.loads((trained / "metrics.json").read_text())
    bits = [epoch["val_bits_per_dim"] for epoch in metrics["history"]]
    assert bits[-1] < bits[0]
    flow = zoo.load("tiny")
    validation = data.batches(zoo.recipe("tiny").data, "validation", 32, LIMIT)
    measured = flow.evaluate(validation, verbose=0, return_dict=True)["bits_per_dim"]
    assert measured == pytest.approx(metrics["validation_bits_per_dim"], rel=1e-6)


def test_a_run_that_diverges_exits_1_with_one_sentence(tiny_recipe, tmp_path, capsys):
    text = tiny_recipe.read_text().replace("ema = 0.9", "learning_rate = 1e25").replace("clip_norm = 100.0", "")
    recipe = tmp_path / "hot.toml"
    recipe.write_text(text)
    assert main(["train", str(recipe), "--limit", "64", "--output", str(tmp_path)]) == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert error[0].startswith("tfflows: training diverged: the ")
    assert store.versions(tmp_path / "tiny") == []


class Poison(keras.callbacks.Callback):
    """Makes a weight NaN at the start of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            weight = self.model.trainable_variables[0]
            weight.assign(weight * np.nan)


def test_divergence_keeps_the_last_good_checkpoint(tiny_recipe, tmp_path):
    recipe = Recipe.from_toml(tiny_recipe)
    batches, steps = data.training_batches(recipe.data, 32, seed=0, limit=LIMIT)
    flow, averaged = zoo.build(recipe), zoo.build(recipe)
    compile_flow(flow, recipe.train, steps)
    averaged.compile(None)
    validation = data.batches(recipe.data, "validation", 32, LIMIT)
    seen = data.arrays(recipe.data, "train", LIMIT)
    callback = checkpoints.Checkpoints(tmp_path, {}, [], averaged, validation, seen)
    with pytest.raises(DivergedError, match=f"of epoch 3 is nan.*{tmp_path}/2"):
        flow.fit(
            batches,
            epochs=4,
            steps_per_epoch=steps,
            shuffle=False,
            verbose=0,
            callbacks=[Poison(2), callback],
        )
    assert store.versions(tmp_path) == [2]
    store.verify(tmp_path / "2")
    checkpoints.restore(tmp_path / "2", flow)
    assert all(np.isfinite(value).all() for value in flow.get_weights())
    assert int(flow.optimizer.iterations) == 2 * steps


def test_learning_rate_rises_linearly_then_follows_a_cosine():
    config = TrainConfig(epochs=10, batch_size=1, learning_rate=2.0, schedule="cosine", warmup_epochs=1)
    rate = make_optimizer(config, steps_per_epoch=10)._learning_rate
    assert float(rate(5)) == pytest.approx(1.0)
    assert float(rate(10)) == pytest.approx(2.0)
    assert float(rate(55)) == pytest.approx(1.0)
    assert float(rate(100)) == float(rate(150)) == pytest.approx(0.0, abs=1e-6)
    constant = make_optimizer(dataclasses.replace(config, schedule="constant"), steps_per_epoch=10)._learning_rate
    assert float(constant(100)) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("flags", "emulated"), [("fma avx2 f16c", True), ("avx2 avx512_bf16", False), ("asimd bf16", False)]
)
def test_a_cpu_without_bfloat16_is_told_from_its_flags(tmp_path, flags, emulated):
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    assert emulates_bfloat16(tmp_path / "cpuinfo") == (emulated and device().startswith("CPU"))
    assert not emulates_bfloat16(tmp_path / "nothing")  # not on Linux
