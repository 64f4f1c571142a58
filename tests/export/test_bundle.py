"""`tfflows export --serving`: the files of a deployment, and the real server where there is one."""

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request

import keras
import pytest

from tfflows.cli import main
from tfflows.cli.commands import SERVING_MODULES
from tfflows.export.bundle import TEMPLATES, models_config, write_bundle
from tfflows.zoo import store

if keras.backend.backend() != "tensorflow":
    pytest.skip("SavedModels need TensorFlow", allow_module_level=True)

IMAGE = f"tensorflow/serving:{os.environ.get('TF_SERVING_VERSION', 'latest')}"


@pytest.fixture(scope="module")
def bundle(trained, tmp_path_factory):
    """`tiny` exported as version 1 with --serving, and as `again` in versions 1 and 2."""
    folder = tmp_path_factory.mktemp("bundle")
    assert main(["export", "tiny", str(folder), "--serving"]) == 0
    for version in (1, 2):
        shutil.copytree(folder / "tiny" / "1", folder / "again" / str(version))
    write_bundle(folder)
    return folder


def names(text):
    return re.findall('name: "(.*)"', text)


def test_exports_into_one_folder_add_to_one_configuration(bundle):
    store.verify(bundle / "tiny" / "1")
    assert names((bundle / "models.config").read_text()) == ["again", "tiny"]
    for template in TEMPLATES.glob("*.*"):
        assert (bundle / template.name).read_bytes() == template.read_bytes()
    assert not list(bundle.glob("*.partial"))


def test_models_without_a_savedmodel_are_not_listed(bundle, tmp_path):
    shutil.copytree(bundle / "tiny", tmp_path / "tiny")
    shutil.copytree(bundle / "tiny", tmp_path / "onnx", ignore=shutil.ignore_patterns("saved_model.pb"))
    write_bundle(tmp_path)
    assert names((tmp_path / "models.config").read_text()) == ["tiny"]


def test_what_was_edited_is_left_alone(bundle, tmp_path):
    shutil.copytree(bundle / "tiny", tmp_path / "tiny")
    (tmp_path / "batching.config").write_text("max_batch_size { value: 8 }\n")
    write_bundle(tmp_path)
    assert (tmp_path / "batching.config").read_text() == "max_batch_size { value: 8 }\n"
    assert names((tmp_path / "models.config").read_text()) == ["tiny"]


def test_models_config_is_the_server_s_message():
    message = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2", reason="extra `serving`")
    from google.protobuf import text_format

    config = text_format.Parse(models_config(["a", "b"]), message.ModelServerConfig()).model_config_list.config
    assert [(entry.name, entry.base_path) for entry in config] == [("a", "/models/a"), ("b", "/models/b")]
    assert all(entry.model_version_policy.WhichOneof("policy_choice") == "all" for entry in config)


@pytest.fixture(scope="module")
def local_server(bundle):
    """(gRPC address, REST address) of `tfflows serve` on the bundle's models."""
    for module in SERVING_MODULES:
        pytest.importorskip(module, reason="extra `serving`")
    command = [sys.executable, "-m", "tfflows", "serve", "tiny", "again", "--port", "0", "--rest-port", "0"]
    environment = os.environ | {"TFFLOWS_HOME": str(bundle)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield re.search(r"gRPC on (\S+), REST on (\S+)", process.stdout.readline()).groups()
        finally:
            process.terminate()


@pytest.mark.parametrize("program", ["request_rest.py", "request_grpc.py", "request_curl.sh"])
def test_the_example_requests_run_as_they_are_written(bundle, local_server, program):
    address = local_server[program == "request_rest.py" or program == "request_curl.sh"]
    if program.endswith(".sh") and not shutil.which("curl"):
        pytest.skip("no curl")
    command = ["bash"] if program.endswith(".sh") else [sys.executable]
    command += [program, "tiny", address]
    result = subprocess.run(command, cwd=bundle, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert ("decode(encode(images)) == images: True" in result.stdout) or (
        program.endswith(".sh") and "bits_per_dim" in result.stdout
    )


def test_the_health_check_tells_a_served_model_from_a_missing_one(bundle, local_server, tmp_path):
    """The command of docker-compose.yml, at another address and path."""
    script = (bundle / "docker-compose.yml").read_text().split("          - |\n          ")[-1]
    script = script.split("      interval")[0].replace("$$", "$")
    host, port = local_server[1].removeprefix("http://").split(":")
    script = script.replace("127.0.0.1/8501", f"{host}/{port}").replace("/models/models.config", "models.config")
    for models, code in ((["tiny", "again"], 0), (["tiny", "absent"], 1), (["absent", "tiny"], 1)):
        (tmp_path / "models.config").write_text(models_config(models))
        assert subprocess.run(["bash", "-c", script], cwd=tmp_path, timeout=60).returncode == code


def docker(*arguments):
    return subprocess.run(["docker", *arguments], capture_output=True, text=True)


@pytest.fixture(scope="module")
def container(bundle):
    """The REST address of TensorFlow Serving itself on the bundle."""
    if not shutil.which("docker") or docker("info").returncode:
        pytest.skip("no Docker runs here")
    if docker("image", "inspect", IMAGE).returncode:
        pytest.skip(f"no image {IMAGE}: docker pull {IMAGE}")
    arguments = ["--model_config_file=/models/models.config", "--enable_batching=true"]
    arguments += ["--batching_parameters_file=/models/batching.config"]
    ports = ["-p", "127.0.0.1::8500", "-p", "127.0.0.1::8501"]
    started = docker("run", "--rm", "-d", *ports, "-v", f"{bundle}:/models:ro", IMAGE, *arguments)
    assert started.returncode == 0, started.stderr
    name = started.stdout.strip()
    try:
        addresses = [docker("port", name, port).stdout.split()[0] for port in ("8500", "8501")]
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"http://{addresses[1]}/v1/models/tiny", timeout=5) as response:
                    if b"AVAILABLE" in response.read():
                        break
            except OSError:
                pass
            assert time.monotonic() < deadline, docker("logs", name).stderr
            time.sleep(1)
        yield addresses
    finally:
        docker("stop", name)


def test_tensorflow_serving_itself_answers_the_example_requests(bundle, container):
    for program, address in (("request_grpc.py", container[0]), ("request_rest.py", f"http://{container[1]}")):
        result = subprocess.run([sys.executable, program, "tiny", address], cwd=bundle, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert "decode(encode(images)) == images: True" in result.stdout
