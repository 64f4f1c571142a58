"""Training on two devices: equal to training on one with the same global batch."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from conftest import DIGITS

from tfflows import Flow, layers
from tfflows.training import Run, devices, train
from tfflows.zoo.recipe import Recipe

RECIPE = f"""
name = "pair"
description = "A small Glow, whose gradient is clipped in every step."
{DIGITS}[model]
family = "glow"
arguments = {{num_levels = 1, num_steps = 1, width = 8}}
[train]
epochs = 2
batch_size = 32
learning_rate = 1e-3
clip_norm = 0.05
ema = 0.9
[evaluation]
num_draws = 2
num_importance_samples = 2
"""
TRAIN = """
import json, sys
from pathlib import Path
from tfflows.zoo.recipe import Recipe
from tfflows.training import Run, train
train(Run(Recipe.from_toml(Path(sys.argv[1])), limit=128), output=sys.argv[2], **json.loads(sys.argv[3]))
"""
BACKEND = keras.backend.backend()


def start(folder, arguments, before="", **environment):
    """A process that trains the recipe into a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "pair.toml").write_text(RECIPE)
    command = [sys.executable, "-c", before + TRAIN, str(folder / "pair.toml"), str(folder), arguments]
    environment = {**os.environ, **environment}
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environment, stdout=subprocess.DEVNULL)


def train_here(folder):
    """The same training in this process, on one device."""
    folder.mkdir()
    (folder / "pair.toml").write_text(RECIPE)
    train(Run(Recipe.from_toml(folder / "pair.toml"), limit=128), output=folder)


def trained(folder):
    """The weights by name, and the curve of the loss."""

    values = {}
    with h5py.File(folder / "pair" / "1" / "model.weights.h5") as file:
        file.visititems(lambda name, node: values.update({name: node[()]} if isinstance(node, h5py.Dataset) else {}))
    history = json.loads((folder / "pair" / "1" / "metrics.json").read_text())["history"]
    return values, [epoch["loss"] for epoch in history]


def assert_equal_training(folder, reference):
    (weights, losses), (expected, expected_losses) = trained(folder), trained(reference)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    assert weights.keys() == expected.keys()
    for name, weight in weights.items():
        np.testing.assert_allclose(weight, expected[name], atol=1e-4, err_msg=name)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's strategies")
def test_mirrored_training_is_that_of_one_device(tmp_path):
    two_devices = (
        "import tensorflow as tf\n"
        "cpu = tf.config.list_physical_devices('CPU')[0]\n"
        "tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)\n"
    )
    run = start(tmp_path / "two", '{"strategy": "mirrored"}', before=two_devices)
    train_here(tmp_path / "one")
    assert run.wait() == 0
    assert_equal_training(tmp_path / "two", tmp_path / "one")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's strategies")
def test_a_flow_of_a_strategy_trains_outside_of_its_scope():
    """As Keras's own models do."""
    import tensorflow as tf

    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        flow = Flow(layers.Chain([layers.ActNorm()]), (4,), dequantizer=None)
        flow.compile(keras.optimizers.Adam(0.1))
    x = np.random.RandomState(0).normal(size=(64, 4)).astype("float32")
    flow.adapt(3 * x)
    first, *_, last = flow.fit(x, batch_size=16, epochs=20, verbose=0).history["loss"]
    assert last < first - 0.1


@pytest.mark.skipif(BACKEND != "jax", reason="hosts are joined by JAX")
def test_two_hosts_train_as_one(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    hosts = f'"hosts": ["127.0.0.1:{port}", "127.0.0.1:{port + 1}"]'
    runs = [start(tmp_path / "two", f'{{{hosts}, "host_index": {index}}}') for index in range(2)]
    train_here(tmp_path / "one")
    assert [run.wait() for run in runs] == [0, 0]
    assert_equal_training(tmp_path / "two", tmp_path / "one")


def test_a_host_without_hosts_is_refused(tmp_path):
    """Else it would train on an empty share of every batch, and publish nothing."""
    with pytest.raises(ValueError, match="there are no hosts"):
        train(Run(Recipe.from_toml(RECIPE)), output=tmp_path, host_index=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(BACKEND != "tensorflow", reason="an option of TensorFlow")
def test_constant_folding_is_set_back_when_the_last_of_two_trainings_ends():
    import tensorflow as tf

    def folding():
        return tf.config.optimizer.get_experimental_options().get("constant_folding", True)

    first, second = devices.without_constant_folding(), devices.without_constant_folding()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not folding()
    second.__exit__(None, None, None)
    assert folding()


def test_what_the_backend_cannot_do_is_said():
    with pytest.raises(ValueError, match="expected mirrored or tpu"):
        devices.strategy_scope("parameter_server")
    if BACKEND == "tensorflow":
        with pytest.raises(ValueError, match="set KERAS_BACKEND=jax"):
            devices.join_hosts(("a:1", "b:1"), 0)
    else:
        with pytest.raises(ValueError, match="is TensorFlow's"):
            devices.strategy_scope("mirrored")
        with pytest.raises(ValueError, match="expected 0 to 1"):
            devices.join_hosts(("a:1", "b:1"), 2)
