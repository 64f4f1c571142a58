"""The local server: a process of its own, driven by TensorFlow Serving's own stubs and by plain HTTP."""

import asyncio
import importlib.util
import math
import os
import runpy
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import keras
import numpy as np
import pytest

from tfflows.cli.commands import SERVING_MODULES
from tfflows.zoo import store

if keras.backend.backend() != "tensorflow":
    pytest.skip("SavedModels need TensorFlow", allow_module_level=True)
if missing := [module for module in SERVING_MODULES if importlib.util.find_spec(module) is None]:
    pytest.skip(f"no {', '.join(missing)}: part of the extra `serving`", allow_module_level=True)

import grpc
import tensorflow as tf
from local_server import Server
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)

from tfflows.serving.engine import Engine, ServingError
from tfflows.serving.service import Limits, Service

IMAGES = np.random.RandomState(0).randint(0, 17, size=(5, 4, 4, 1)).astype(np.uint8)


def small_flow(seed, **arguments):
    from tfflows.flow import Flow
    from tfflows.models import nice

    keras.utils.set_random_seed(seed)
    condition_size = arguments.get("num_classes", 0)
    flow = Flow(nice((4, 4, 1), 17, condition_size=condition_size, hidden=(8,)), (4, 4, 1), num_values=17, **arguments)
    for weight in flow.trainable_variables:
        weight.assign(weight + 0.1 * np.random.RandomState(seed).standard_normal(weight.shape))
    return flow


@pytest.fixture(scope="module")
def flows(tmp_path_factory):
    """(folder, flows): `plain` in versions 1 and 2 and `labelled` in version 1."""
    from tfflows.export import export

    root = tmp_path_factory.mktemp("models")
    flows = {("plain", 1): small_flow(1), ("plain", 2): small_flow(2), ("labelled", 1): small_flow(3, num_classes=3)}
    for (name, version), flow in flows.items():
        store.publish(root / name, lambda folder, flow=flow: export(flow, folder), version)
    return root, flows


@pytest.fixture(scope="module")
def server(flows):
    server = Server(flows[0], "plain", "labelled", "--max-batch", "64", "--max-megabytes", "1")
    yield server
    assert server.stop() == 0


def arrays(response):
    return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}


def test_grpc_predict_gives_what_the_flow_gives_for_every_signature(server, flows):
    flow = flows[1]["plain", 2]
    response = server.predict("plain", images=IMAGES)
    assert response.model_spec.version.value == 2
    expected = np.asarray(flow.log_prob(IMAGES))
    np.testing.assert_allclose(arrays(response)["log_prob"], expected, atol=1e-4)
    np.testing.assert_allclose(arrays(response)["bits_per_dim"], -expected / (16 * math.log(2)), rtol=1e-5)
    latents = arrays(server.predict("plain", "encode", images=IMAGES))["latents"]
    np.testing.assert_allclose(latents, np.asarray(flow.encode(IMAGES)), atol=1e-4)
    np.testing.assert_array_equal(arrays(server.predict("plain", "decode", latents=latents))["images"], IMAGES)
    seed, temperature = np.array([1, 2], np.int32), np.array([1, 0.5], np.float32)
    samples = arrays(server.predict("plain", "sample", seed=seed, temperature=temperature))["images"]
    np.testing.assert_array_equal(samples, np.asarray(flow.sample_from_seeds(seed, temperature)))
    assert list(server.predict("plain", images=IMAGES, outputs=["log_prob"]).outputs) == ["log_prob"]


def test_rest_predict_by_rows_and_by_columns(server, flows):
    expected = np.asarray(flows[1]["plain", 2].log_prob(IMAGES))
    rows = IMAGES.tolist()
    for body in ({"instances": rows}, {"instances": [{"images": row} for row in rows]}):
        status, answer = server.http("/v1/models/plain:predict", body)
        assert status == 200
        np.testing.assert_allclose([row["log_prob"] for row in answer["predictions"]], expected, atol=1e-4)
    for inputs in (rows, {"images": rows}):
        _, answer = server.http("/v1/models/plain:predict", {"signature_name": "log_prob", "inputs": inputs})
        np.testing.assert_allclose(answer["outputs"]["log_prob"], expected, atol=1e-4)
    sample = {"signature_name": "sample", "inputs": {"seed": [1, 2], "temperature": [1, 0.5]}}
    _, answer = server.http("/v1/models/plain:predict", sample)
    samples = flows[1]["plain", 2].sample_from_seeds(np.array([1, 2], np.int32), np.array([1, 0.5], np.float32))
    assert answer["outputs"] == np.asarray(samples).tolist()  # a single output goes without its name


def test_an_image_has_one_density_whatever_the_batch_and_the_protocol(server):
    whole = arrays(server.predict("plain", images=IMAGES))["log_prob"]
    alone = [arrays(server.predict("plain", images=IMAGES[i : i + 1]))["log_prob"][0] for i in range(5)]
    np.testing.assert_allclose(alone, whole, atol=1e-5)
    _, answer = server.http("/v1/models/plain:predict", {"inputs": IMAGES.tolist()})
    np.testing.assert_allclose(answer["outputs"]["log_prob"], whole, atol=1e-5)


def test_a_conditional_model_takes_labels(server, flows):
    labels = np.array([0, 1, 2, 0, 1], np.int32)
    expected = np.asarray(flows[1]["labelled", 1].log_prob(IMAGES, labels))
    response = server.predict("labelled", images=IMAGES, label=labels)
    np.testing.assert_allclose(arrays(response)["log_prob"], expected, atol=1e-4)
    instances = [{"images": image.tolist(), "label": int(label)} for image, label in zip(IMAGES, labels, strict=True)]
    _, answer = server.http("/v1/models/labelled:predict", {"instances": instances})
    np.testing.assert_allclose([row["log_prob"] for row in answer["predictions"]], expected, atol=1e-4)


def test_metadata_and_status_are_the_same_by_both_protocols(server):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "labelled"
    response = server.prediction.GetModelMetadata(request, timeout=60)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    sample = signatures.signature_def["sample"]
    assert {name: info.dtype for name, info in sample.inputs.items()} == {
        "seed": tf.int32.as_datatype_enum,
        "temperature": tf.float32.as_datatype_enum,
        "label": tf.int32.as_datatype_enum,
    }
    _, answer = server.http("/v1/models/labelled/metadata")
    assert answer["model_spec"] == {"name": "labelled", "signature_name": "", "version": "1"}
    dimensions = answer["metadata"]["signature_def"]["signature_def"]["sample"]["outputs"]["images"]["tensor_shape"]
    assert [d["size"] for d in dimensions["dim"]] == ["-1", "4", "4", "1"]

    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "plain"
    states = [(s.version, s.state) for s in server.model.GetModelStatus(request, timeout=60).model_version_status]
    assert states == [(2, get_model_status_pb2.ModelVersionStatus.AVAILABLE), (1, states[0][1])]
    _, answer = server.http("/v1/models/plain/versions/1")
    ok = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert answer == {"model_version_status": [ok]}


def test_versions_are_chosen_by_number(server, flows):
    for version in (1, 2):
        expected = np.asarray(flows[1]["plain", version].log_prob(IMAGES))
        response = server.predict("plain", version=version, images=IMAGES)
        np.testing.assert_allclose(arrays(response)["log_prob"], expected, atol=1e-4)
        _, answer = server.http(f"/v1/models/plain/versions/{version}:predict", {"inputs": IMAGES.tolist()})
        np.testing.assert_allclose(answer["outputs"]["log_prob"], expected, atol=1e-4)


def test_a_new_version_is_served_a_damaged_one_reported_and_a_deleted_one_forgotten(flows, tmp_path, request):
    root, built = flows
    shutil.copytree(root / "plain" / "1", tmp_path / "plain" / "1")
    server = Server(tmp_path, "plain")
    request.addfinalizer(server.stop)

    def versions():
        _, answer = server.http("/v1/models/plain")
        return {s["version"]: (s["state"], s["status"]["error_message"]) for s in answer["model_version_status"]}

    def wait_for(condition):
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, versions()
            time.sleep(0.2)

    assert versions() == {"1": ("AVAILABLE", "")}
    shutil.copytree(root / "plain" / "2", tmp_path / "new")
    (tmp_path / "new").rename(tmp_path / "plain" / "2")
    wait_for(lambda: versions().get("2") == ("AVAILABLE", ""))
    expected = np.asarray(built["plain", 2].log_prob(IMAGES))
    np.testing.assert_allclose(arrays(server.predict("plain", images=IMAGES))["log_prob"], expected, atol=1e-4)

    shutil.copytree(tmp_path / "plain" / "1", tmp_path / "half")
    (tmp_path / "half" / "saved_model.pb").write_bytes(b"truncated")
    (tmp_path / "half").rename(tmp_path / "plain" / "3")
    wait_for(lambda: versions().get("3", ("",))[0] == "END")
    assert "saved_model.pb is not the file that was written" in versions()["3"][1]
    assert server.predict("plain", images=IMAGES).model_spec.version.value == 2
    shutil.copy(tmp_path / "plain" / "1" / "saved_model.pb", tmp_path / "plain" / "3")  # as a slow copy goes on
    wait_for(lambda: versions()["3"] == ("AVAILABLE", ""))

    for version in ("2", "3"):
        (tmp_path / "plain" / version).rename(tmp_path / f"gone{version}")
    wait_for(lambda: set(versions()) == {"1"})
    assert server.predict("plain", images=IMAGES).model_spec.version.value == 1


def test_metrics_count_requests_by_code_and_time_the_model(server):
    known = ('tfflows_requests_total{api="rest",code="OK"', 'tfflows_requests_total{api="rest",code="NOT_FOUND"')
    timed = 'tfflows_model_seconds_count{model="plain",signature="encode"}'
    before = [server.metric(start) for start in (*known, timed)]
    server.http("/v1/models/plain:predict", {"signature_name": "encode", "inputs": IMAGES.tolist()})
    for name in ("absent1", "absent2"):
        server.http(f"/v1/models/{name}:predict", {"inputs": []})
    assert [server.metric(start) for start in (*known, timed)] == [before[0] + 1, before[1] + 2, before[2] + 1]
    with urllib.request.urlopen(server.rest + "/metrics", timeout=60) as response:
        assert "absent" not in response.read().decode()  # names that clients make up take no memory


def test_a_tensor_that_is_not_what_it_declares_is_refused_before_it_is_made(server):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "plain"
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(IMAGES))
    for declared, sentence in ((10**12, "at most 64"), (4, "does not hold the 64 uint8 values")):
        request.inputs["images"].tensor_shape.dim[0].size = declared
        with pytest.raises(grpc.RpcError, match=sentence) as raised:
            server.prediction.Predict(request, timeout=60)
        assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_classification_is_unimplemented(server):
    with pytest.raises(grpc.RpcError) as raised:
        server.prediction.Classify(classification_pb2.ClassificationRequest(), timeout=60)
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_64_clients_with_malformed_requests_among_them_get_every_answer(server, flows):
    """`tools/serving_load.py` has the same with 5,000 requests, and watches the memory."""
    tool = runpy.run_path(str(Path(__file__).resolve().parents[2] / "tools" / "serving_load.py"))
    images = np.random.RandomState(1).randint(0, 17, size=(200, 4, 4, 1)).astype(np.uint8)
    load = tool["Load"](server.rest, server.grpc, "plain", flows[1]["plain", 2], images)
    endings, memory = tool["run"](load, server.process.pid, requests=500, clients=64)
    assert endings.keys() == {"right", "refused"}
    assert endings["right"] + endings["refused"] == 500
    assert memory[-1] < memory[0] + 50


def test_what_cannot_start_says_why_in_one_sentence(flows, tmp_path):
    def refused(home, *arguments):
        command = [sys.executable, "-m", "tfflows", "serve", *arguments]
        environment = os.environ | {"TFFLOWS_HOME": str(home)}
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert result.returncode == 2
        return result.stderr.splitlines()[-1]

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "choose another with --rest-port" in refused(flows[0], "plain", "--port", "0", "--rest-port", port)
        assert "choose another with --port" in refused(flows[0], "plain", "--port", port, "--rest-port", "0")
    store.publish(tmp_path / "weights", lambda folder: (folder / "model.weights.h5").write_text(""))
    message = refused(tmp_path, "weights", "--port", "0", "--rest-port", "0")
    assert "has no SavedModel: write one with `tfflows export weights DIR`" in message


def test_too_many_requests_are_refused_and_late_ones_never_started(caplog):
    threads, started, end = os.cpu_count(), [], threading.Event()
    service = Service(Engine({}), Limits(seconds=1.0, waiting=threads + 1))

    def slow(number):
        started.append(number)
        end.wait(30)

    async def refused(function):
        with pytest.raises(ServingError) as raised:
            await service.call("rest", "predict", "plain", function)
        return raised.value.code.name

    async def main():
        late = [asyncio.create_task(refused(lambda number=number: slow(number))) for number in range(threads + 1)]
        await asyncio.sleep(0.1)
        assert await refused(list) == "UNAVAILABLE"
        assert await asyncio.gather(*late) == ["DEADLINE_EXCEEDED"] * (threads + 1)
        end.set()
        assert await refused(lambda: 1 / 0) == "INTERNAL"
        assert await service.call("rest", "predict", "plain", lambda: 5) == 5

    asyncio.run(main())
    service.close()
    assert sorted(started) == list(range(threads))
    assert "ZeroDivisionError" in caplog.text
