"""Bad input harms nothing: each case of the tables in `bad_input/` gives a typed exception, exit code 2 or a status,
one sentence that names what was given and what to do, and leaves every file as it was."""

import contextlib
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from bad_input import command_line, python_api, recipes, server, storage
from conftest import DIGITS, limited_files

from tfflows import Flow, models, zoo
from tfflows.cli import main
from tfflows.cli.commands import SERVING_MODULES
from tfflows.evaluation.images import save_png
from tfflows.zoo import store
from tfflows.zoo.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
SMALL = f"""
name = "small"
description = "A small NICE of digits."
{DIGITS}[model]
family = "nice"
arguments = {{ num_couplings = 2, hidden = [32] }}
[train]
epochs = 5
batch_size = 32
"""
BAD = f"""
name = "bad"
description = "What the mistakes are made in."
{DIGITS}[model]
family = "glow"
arguments = {{ num_levels = 2, num_steps = 1, width = 8, lu = true }}
[train]
epochs = 5
batch_size = 64
learning_rate = 1
"""
DAMAGE = {
    "missing": lambda folder: (folder / "model.weights.h5").unlink(),
    "truncated": lambda folder: os.truncate(folder / "model.weights.h5", 1000),
    "altered": lambda folder: alter(folder),
    "unlisted": lambda folder: (folder / store.MANIFEST).unlink(),
    "half_listed": lambda folder: (folder / store.MANIFEST).write_text('{"sha256": {"rec'),
}
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
MISSING = [module for module in (*SERVING_MODULES, "tensorflow") if importlib.util.find_spec(module) is None]
no_server = pytest.mark.skipif(bool(MISSING) or not ON_TENSORFLOW, reason="extra `serving` on TensorFlow")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="a folder where root may not write: /sys")
on_unix = pytest.mark.skipif(os.name == "nt", reason="a limit on the size of files")
with_tf_data = pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="no tf.data")


def alter(folder):
    with open(folder / "model.weights.h5", "r+b") as file:
        file.seek(2000)
        file.write(b"\x42")
    (folder / "metrics.json").write_text("{")


class World:
    """One small model in a store, next to damaged copies of it, and the ways to ask for something."""

    def __init__(self, folder):
        self.home, self.files = folder / "home", folder / "files"
        keras.utils.set_random_seed(0)
        self.flow = Flow(models.nice((4, 4, 1), 17, hidden=(8,)), (4, 4, 1), 17)
        self.labelled = Flow(models.nice((4, 4, 1), 17, 3, hidden=(8,)), (4, 4, 1), 17, num_classes=3)
        for flow in (self.flow, self.labelled):
            flow.compile("adam")
        store.publish(self.home / "small", self._write)
        for name, damage in DAMAGE.items():
            shutil.copytree(self.home / "small" / "1", self.home / name / "1")
            damage(self.home / name / "1")
        self.files.mkdir()
        shutil.copytree(self.home / "small" / "1", self.files / "exported" / "small" / "1")
        texts = {
            "bad": "name = \n",
            "key": SMALL.replace("epochs", "epoch"),
            "width": SMALL.replace("[32]", '"8"'),
            "warmup": SMALL + "warmup_epochs = 3\n",
        }
        for name, text in texts.items():
            (self.files / f"{name}.toml").write_text(text)
        np.savez(self.files / "images.npz", image=np.zeros((40, 8, 8), np.uint8))
        np.savez(self.files / "few.npz", image=np.zeros((3, 8, 8), np.uint8))
        np.savez(self.files / "vectors.npz", image=np.zeros((40, 64)))
        (self.files / "pictures").mkdir()
        save_png(self.files / "pictures" / "zeros.png", np.zeros((1, 8, 8, 1), np.uint8))
        labelled = SMALL.replace("17\n[model]", "17\nnum_classes = 3\n[model]\nconditional = true")
        store.publish(self.home / "labelled", lambda folder: self._write(folder, labelled))

    def _write(self, folder, text=SMALL):
        flow = zoo.build(Recipe.from_toml(text))
        (folder / "recipe.toml").write_text(text)
        (folder / "metrics.json").write_text(json.dumps({"bits_per_dim": 4.0, "limit": None, "protocol": "none"}))
        flow.save_weights(folder / "model.weights.h5")
        if ON_TENSORFLOW:
            from tfflows.export import export

            export(flow, folder)

    def state(self):
        """The sum of every file that a mistake could spoil; locks and TensorBoard's logs do not count."""
        paths = [path for root in (self.home, self.files, self.out) for path in root.rglob("*") if path.is_file()]
        paths = [path for path in paths if not path.name.endswith(".lock") and "logs" not in path.parts]
        return {path: hashlib.sha256(path.read_bytes()).digest() for path in paths}

    def start(self):
        from local_server import Server

        self.server = Server(self.home, "small", "--max-batch", "64", "--max-megabytes", "1")
        return self.server


@pytest.fixture(scope="module")
def module_world(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        world = World(tmp_path_factory.mktemp("world"))
        patch.setenv("TFFLOWS_HOME", str(world.home))
        yield world


@pytest.fixture
def world(module_world, tmp_path):
    """The world, which must be afterwards what it was."""
    module_world.out = tmp_path
    before = module_world.state()
    yield module_world
    assert module_world.state() == before


@pytest.fixture(scope="module")
def running(module_world):
    server = module_world.start()
    yield server
    assert server.stop() == 0


def check(message, given, remedy):
    assert given in message
    assert remedy in message
    assert len(message.strip().splitlines()) == 1
    assert "Traceback" not in message


def table(*parts):
    return [pytest.param(*case, id=name, marks=marks) for cases, marks in parts for name, case in cases.items()]


@pytest.mark.parametrize(
    ("call", "error", "given", "remedy"),
    table(
        (python_api.CASES, ()),
        (python_api.ON_TENSORFLOW, with_tf_data),
        (storage.CASES, ()),
        (storage.ON_LINUX, on_linux),
    ),
)
def test_python_raises(world, call, error, given, remedy):
    with pytest.raises(error) as raised:
        call(world)
    assert type(raised.value).__module__.split(".")[0] in ("builtins", "tfflows")
    check(str(raised.value), given, remedy)


@pytest.mark.backend_free
@pytest.mark.parametrize(("right", "wrong", "given", "remedy"), table((recipes.CASES, ())))
def test_a_recipe_is_refused(tmp_path, right, wrong, given, remedy):
    assert right in BAD
    path = tmp_path / "bad.toml"
    path.write_text(BAD.replace(right, wrong, 1))
    with pytest.raises(ValueError, match=re.escape(given)) as raised:
        zoo.build(Recipe.from_toml(path))
    check(str(raised.value), given, remedy)


def run(arguments, limit=None):
    """(exit code, stderr) of a command in this process."""
    stderr = io.StringIO()
    with contextlib.redirect_stderr(stderr), limited_files(limit) if limit else contextlib.nullcontext():
        try:
            code = main(arguments)
        except SystemExit as stop:
            code = stop.code
    return code, stderr.getvalue()


@pytest.mark.parametrize(
    ("arguments", "given", "remedy", "limit"),
    [
        pytest.param(*case.values, limit, id=case.id, marks=case.marks)
        for cases, marks, limit in [
            (command_line.CASES, (), None),
            (command_line.ON_LINUX, on_linux, None),
            (command_line.ON_A_FULL_DISK, on_unix, 20_000),
        ]
        for case in table((cases, marks))
    ],
)
def test_a_command_exits_with_2(world, arguments, given, remedy, limit):
    folders = {"files": world.files, "out": world.out}
    code, message = run([argument.format(**folders) for argument in arguments], limit)
    assert code == 2
    assert message.startswith("tfflows")
    check(message, given.format(**folders), remedy)


@pytest.mark.backend_free
def test_a_command_in_a_process_of_its_own_says_the_same():
    for arguments, given, remedy in (command_line.CASES[key] for key in ("misspelt name", "recipe that is not there")):
        command = [sys.executable, "-m", "tfflows", *(argument.format(files="nowhere") for argument in arguments)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert result.returncode == 2
        check(result.stderr, given.format(files="nowhere"), remedy)


@no_server
@pytest.mark.parametrize(("path", "body", "status", "given", "remedy"), table((server.REST, ())))
def test_rest_refuses(world, running, path, body, status, given, remedy):
    answered, answer = running.http(os.path.normpath(server.MODEL + path), body)
    assert answered == status
    check(answer["error"], given, remedy)


@no_server
@pytest.mark.parametrize(("arguments", "code", "given", "remedy"), table((server.RPC, ())))
def test_grpc_refuses(world, running, arguments, code, given, remedy):
    import grpc

    with pytest.raises(grpc.RpcError) as raised:
        running.predict(**{"name": "small", **arguments})
    assert raised.value.code().name == code
    check(raised.value.details(), given, remedy)


@no_server
def test_a_connection_dropped_in_mid_request_harms_nobody(world, running):
    host, port = running.rest.removeprefix("http://").split(":")
    request = f"POST {server.MODEL}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{".encode()
    for _ in range(20):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(request)
    for _ in range(20):
        with socket.create_connection(running.grpc.split(":")) as connection:
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00")
    status, answer = running.http(server.MODEL + ":predict", {"inputs": server.IMAGES.tolist()})
    assert status == 200
    expected = keras.ops.convert_to_numpy(zoo.load("small").log_prob(server.IMAGES))
    np.testing.assert_allclose(answer["outputs"]["log_prob"], expected, rtol=1e-4)
