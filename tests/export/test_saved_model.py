"""The SavedModel by itself: what its graph holds, and loaders that know nothing of tfflows, Keras or Python."""

import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import keras
import numpy as np
import pytest

from tfflows import zoo
from tfflows.evaluation.calibration import load_calibration
from tfflows.export import warmup
from tfflows.zoo import store

if keras.backend.backend() != "tensorflow":
    pytest.skip("SavedModels need TensorFlow", allow_module_level=True)

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

ENDPOINTS = ("serving_default", "log_prob", "encode", "decode", "sample")


@pytest.fixture(scope="module")
def examples(trained):
    """{endpoint: (inputs, outputs)} as the flow gives them."""
    flow = zoo.load("tiny")
    images = np.random.RandomState(0).randint(0, 17, size=(3, 8, 8, 1)).astype(np.uint8)
    images[:2] = flow.sample(2, seed=1)
    latents, log_prob = np.asarray(flow.encode(images)), np.asarray(flow.log_prob(images))
    seed, temperature = np.array([3, 4], np.int32), np.array([1, 0.5], np.float32)
    p_value = load_calibration(flow, trained).p_value(images)
    density = {"log_prob": log_prob, "bits_per_dim": -log_prob / (64 * np.log(2)), "anomaly_p_value": p_value}
    return {
        "serving_default": ({"images": images}, density),
        "log_prob": ({"images": images}, density),
        "encode": ({"images": images}, {"latents": latents}),
        "decode": ({"latents": latents}, {"images": images}),
        "sample": (
            {"seed": seed, "temperature": temperature},
            {"images": np.asarray(flow.sample_from_seeds(seed, temperature))},
        ),
    }


def assert_close(results, expected, atol=1e-4):
    assert results.keys() == expected.keys()
    for name, value in expected.items():
        tolerance = 0 if name == "images" else atol
        np.testing.assert_allclose(results[name].astype(np.float64), value, rtol=1e-6, atol=tolerance, err_msg=name)


def ops(graph_def):
    """All operations of a graph and of the functions that it calls."""
    functions = (node for function in graph_def.library.function for node in function.node_def)
    return {node.op for nodes in (graph_def.node, functions) for node in nodes}


def stateful(names):
    known = {name: op_def_registry.get(name) for name in names}
    return {name for name, definition in known.items() if definition is not None and definition.is_stateful}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_endpoint_reads_its_weights_and_has_no_other_state_and_no_python(trained, endpoint):
    loaded = tf.saved_model.load(str(trained))
    found = ops(loaded.signatures[endpoint].graph.as_graph_def())
    assert stateful(found) <= {"VarHandleOp", "ReadVariableOp", "StatefulPartitionedCall"}
    assert not [name for name in found if "PyFunc" in name or name.startswith("Assign")]


def test_a_variable_write_random_op_and_python_function_would_be_seen():
    variable = tf.Variable(0.0)

    @tf.function
    def impure():
        variable.assign_add(tf.random.uniform(()))
        return tf.py_function(lambda: 1.0, [], tf.float32)

    found = ops(impure.get_concrete_function().graph.as_graph_def())
    assert {"AssignAddVariableOp", "RandomUniform", "EagerPyFunc"} <= stateful(found)


def test_the_manifest_covers_every_file_and_the_folder_is_as_documented(trained):
    files = {path.relative_to(trained).as_posix() for path in trained.rglob("*") if path.is_file()}
    manifest = json.loads((trained / store.MANIFEST).read_text())["sha256"]
    assert set(manifest) == files - {store.MANIFEST}
    assert {
        "saved_model.pb",
        "variables/variables.index",
        warmup.PATH.as_posix(),
        "model.weights.h5",
        "recipe.toml",
        "metrics.json",
    } <= files


def test_warm_up_requests_are_prediction_logs_of_every_signature(trained):
    prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2", reason="extra `serving`")
    signatures = tf.saved_model.load(str(trained)).signatures
    seen = []
    for record in tf.data.TFRecordDataset(str(trained / warmup.PATH)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        assert log.ByteSize() == len(record)  # no field that the message does not know
        request = log.predict_log.request
        seen.append(request.model_spec.signature_name)
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        assert all(len(value) == 1 for value in signatures[seen[-1]](**inputs).values())
    assert sorted(seen) == sorted(ENDPOINTS)


@pytest.fixture(scope="module")
def tensorflow_alone(tmp_path_factory):
    """The Python of an environment with TensorFlow, without tfflows, Keras and TensorFlow Probability."""
    folder = tmp_path_factory.mktemp("alone")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    absent = ("keras", "tf_keras", "tfflows", "tensorflow_probability", "__editable__")
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(absent) and path.suffix != ".pth" and not (site_packages / path.name).exists():
            (site_packages / path.name).symlink_to(path)
    return folder / "bin" / "python"


def run(*command, cwd):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_saved_model_cli_shows_and_runs_it_where_neither_tfflows_nor_keras_is(
    trained, examples, tensorflow_alone, tmp_path
):
    find = "import importlib.util as u; print(*map(u.find_spec, ('tfflows', 'keras', 'tf_keras')))"
    assert run(tensorflow_alone, "-c", find, cwd=tmp_path).split() == ["None"] * 3
    cli = (tensorflow_alone, "-m", "tensorflow.python.tools.saved_model_cli")
    shown = run(*cli, "show", "--dir", trained, "--all", cwd=tmp_path)
    for endpoint in ENDPOINTS:
        assert f"signature_def['{endpoint}']" in shown
    for endpoint in ("log_prob", "sample"):
        inputs, expected = examples[endpoint]
        for name, value in inputs.items():
            np.save(tmp_path / f"{name}.npy", value)
        given = ";".join(f"{name}={tmp_path / name}.npy" for name in inputs)
        out = tmp_path / endpoint
        arguments = ("--dir", trained, "--tag_set", "serve", "--signature_def", endpoint)
        run(*cli, "run", *arguments, "--inputs", given, "--outdir", out, cwd=tmp_path)
        assert_close({path.stem: np.load(path) for path in out.glob("*.npy")}, expected)


def test_tensorflow_s_c_api_loads_it_and_runs_every_signature(trained, examples, tmp_path):
    package = Path(importlib.util.find_spec("tensorflow").origin).parent
    (library,) = package.glob("libtensorflow_cc.*2*")
    saved = saved_model_pb2.SavedModel.FromString((trained / "saved_model.pb").read_bytes())
    for endpoint, (inputs, expected) in examples.items():
        signature = saved.meta_graphs[0].signature_def[endpoint]
        np.savez(tmp_path / "in.npz", **{signature.inputs[name].name: value for name, value in inputs.items()})
        outputs = {name: signature.outputs[name].name for name in expected}
        client = (sys.executable, Path(__file__).parent / "c_api_client.py", library, trained)
        run(*client, tmp_path / "in.npz", tmp_path / "out.npz", *outputs.values(), cwd=tmp_path)
        with np.load(tmp_path / "out.npz") as results:
            assert_close({name: results[tensor] for name, tensor in outputs.items()}, expected)


def test_openvino_agrees_on_density_and_decode(trained, examples):
    """Another engine than TensorFlow, with the steps that docs/serving.md names."""
    openvino = pytest.importorskip("openvino", reason="extra `openvino`")
    core, precision = openvino.Core(), {"INFERENCE_PRECISION_HINT": "f32"}
    model = core.read_model(trained)  # the front end reads serving_default alone
    for op in model.get_ops():
        if op.get_type_name() == "ReduceSum" and op.input(1).get_partial_shape() == openvino.PartialShape([0]):
            op.output(0).replace(op.input_value(0))  # a sum over no axes, which the CPU plugin refuses
    inputs, expected = examples["serving_default"]
    results = core.compile_model(model, "CPU", precision)(inputs)
    assert_close({name: results[name] for name in expected}, expected, atol=1e-3)

    loaded = tf.saved_model.load(str(trained))
    model = openvino.convert_model(loaded.signatures["decode"])
    inputs, expected = examples["decode"]
    results = core.compile_model(model, "CPU", precision)(inputs)
    np.testing.assert_array_equal(results[0], expected["images"])
