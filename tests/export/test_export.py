"""The SavedModel: TensorFlow alone, without tfflows, gets from it what the flow gives."""

import math
import subprocess
import sys

import keras
import numpy as np
import pytest

from tfflows import zoo
from tfflows.flow import Flow
from tfflows.models import MODELS

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="SavedModels need TensorFlow")

CLIENT = """
import sys
import numpy as np
import tensorflow as tf

for model_folder, folder in zip(sys.argv[1::2], sys.argv[2::2]):
    model = tf.saved_model.load(model_folder).signatures
    inputs = np.load(folder + "/inputs.npz")
    results = {}
    for name in ("serving_default", "log_prob", "encode", "decode", "sample"):
        given = [key for key in inputs if key.startswith(name + ".")]
        arguments = {key.removeprefix(name + "."): tf.constant(inputs[key]) for key in given}
        for key, value in model[name](**arguments).items():
            results[name + "." + key] = value.numpy()
    np.savez(folder + "/results.npz", **results)
assert not {"tfflows", "tensorflow_probability"} & set(sys.modules)  # Keras is imported by TensorFlow itself
"""
CONDITIONAL = {
    "nice": {"hidden": (8,)},
    "glow": {"num_levels": 1, "num_steps": 1, "width": 4},
    "maf": {"num_layers": 1, "hidden": (8,), "mixture_components": 2, "transformer": "spline", "alpha": 0.05},
}


def inputs_of_tiny(flow):
    images = np.random.RandomState(0).randint(0, 17, size=(5, 8, 8, 1)).astype(np.uint8)
    images[:3] = flow.sample(3, seed=1)
    return {
        "serving_default.images": images,
        "log_prob.images": images[3:4],
        "encode.images": images,
        "decode.latents": np.asarray(flow.encode(images)),
        "sample.seed": np.array([7, 8, 7, 7], np.int32),
        "sample.temperature": np.array([1.0, 1.0, 1.0, 0.5], np.float32),
    }


def conditional(family):
    keras.utils.set_random_seed(0)
    transform = MODELS[family]((4, 4, 1), 17, condition_size=3, **CONDITIONAL[family])
    flow = Flow(transform, (4, 4, 1), num_values=17, num_classes=3)
    for weight in flow.trainable_variables:
        weight.assign(weight + 0.1 * np.random.RandomState(0).standard_normal(weight.shape))
    return flow


def inputs_of_conditional(flow):
    images = np.random.RandomState(1).randint(0, 17, size=(3, 4, 4, 1)).astype(np.uint8)
    images[1] = images[0]
    labels = np.array([0, 1, 2], np.int32)
    return {
        **{f"{name}.images": images for name in ("serving_default", "log_prob", "encode")},
        **{f"{name}.label": labels for name in ("serving_default", "log_prob", "encode", "decode", "sample")},
        **{"decode.latents": np.asarray(flow.encode(images, labels))},
        **{"sample.seed": np.array([5, 5, 5], np.int32), "sample.temperature": np.ones(3, np.float32)},
    }


@pytest.fixture(scope="module")
def answers(trained, tmp_path_factory):
    """{model: (flow, inputs, results)} of all endpoints, from one process that has TensorFlow alone."""
    from tfflows.export import export

    root, flow = tmp_path_factory.mktemp("answers"), zoo.load("tiny")
    models, asked = {"tiny": trained}, {"tiny": (flow, inputs_of_tiny(flow))}
    for family in CONDITIONAL:
        flow, models[family] = conditional(family), root / f"{family}_model"
        export(flow, models[family])
        asked[family] = flow, inputs_of_conditional(flow)
    command = [sys.executable, "-c", CLIENT]
    for name, (_, inputs) in asked.items():
        (root / name).mkdir()
        np.savez(root / name / "inputs.npz", **inputs)
        command += [models[name], root / name]
    subprocess.run(command, check=True, cwd=root)
    found = {}
    for name, (flow, inputs) in asked.items():
        with np.load(root / name / "results.npz") as results:
            found[name] = flow, inputs, dict(results)
    return found


def test_endpoints_agree_with_the_flow_and_treat_every_element_by_itself(answers):
    flow, inputs, results = answers["tiny"]
    images, latents = inputs["encode.images"], inputs["decode.latents"]
    expected = np.asarray(flow.log_prob(images))
    np.testing.assert_allclose(results["serving_default.log_prob"], expected, atol=1e-4, rtol=1e-6)
    np.testing.assert_allclose(results["log_prob.log_prob"], expected[3:4], atol=1e-4, rtol=1e-6)
    np.testing.assert_allclose(results["serving_default.bits_per_dim"], -expected / (64 * np.log(2)), rtol=1e-5)
    np.testing.assert_allclose(results["encode.latents"], latents, atol=1e-4)
    np.testing.assert_array_equal(results["decode.images"], images)
    samples = results["sample.images"]
    assert samples.dtype == np.uint8
    assert samples.shape == (4, 8, 8, 1)
    np.testing.assert_array_equal(samples[0], samples[2])
    assert (samples[0] != samples[1]).any()
    assert (samples[0] != samples[3]).any()
    seeds, temperatures = inputs["sample.seed"], inputs["sample.temperature"]
    alone = np.asarray(flow.sample_from_seeds(seeds[1:2], temperatures[1:2]))
    np.testing.assert_array_equal(samples[1:2], alone)


@pytest.mark.parametrize("family", CONDITIONAL)
def test_a_conditional_flow_of_every_family_takes_the_label(answers, family):
    flow, inputs, results = answers[family]
    images, labels = inputs["encode.images"], inputs["encode.label"]
    expected = np.asarray(flow.log_prob(images, labels))
    assert expected[0] != expected[1]
    np.testing.assert_allclose(results["log_prob.log_prob"], expected, atol=1e-4, rtol=1e-6)
    np.testing.assert_array_equal(results["decode.images"], images)
    samples = np.asarray(
        flow.sample_from_seeds(np.full(3, 5, np.int32), np.ones(3, "float32"), np.eye(3, dtype="float32")[labels])
    )
    np.testing.assert_array_equal(results["sample.images"], samples)
    assert (results["sample.images"][0] != results["sample.images"][1]).any()


def test_the_folder_holds_every_weight_once(trained):
    import tensorflow as tf

    flow = zoo.load("tiny")
    shapes = dict(tf.train.list_variables(str(trained / "variables" / "variables")))
    del shapes["_CHECKPOINTABLE_OBJECT_GRAPH"]
    written = sum(math.prod(shape) for shape in shapes.values())
    trainable = sum(math.prod(variable.shape) for variable in flow.trainable_variables)
    assert trainable <= written <= flow.count_params()


def test_a_flow_whose_values_do_not_fit_is_refused(tmp_path):
    from tfflows.export import export

    transform = MODELS["nice"]((4, 4, 1), 500, hidden=(8,))
    with pytest.raises(ValueError, match="num_values=500 cannot be exported"):
        export(Flow(transform, (4, 4, 1), num_values=500), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
