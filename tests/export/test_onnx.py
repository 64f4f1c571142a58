"""ONNX: onnxruntime gets from the exported models what the flow gives."""

import keras
import numpy as np
import pytest
from scipy import special

from tfflows import zoo
from tfflows.errors import InputError
from tfflows.export import deploy, export_onnx
from tfflows.export.onnx_operators import HANDLERS
from tfflows.flow import Flow
from tfflows.models import MODELS
from tfflows.models.variational import variational

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="ONNX is written on TensorFlow")
onnxruntime = pytest.importorskip("onnxruntime")
tf2onnx = pytest.importorskip("tf2onnx")

VALUES = 17
# Between them they have every layer, transformer, base distribution and dequantizer of the zoo's trained entries.
MODEL = {
    "nice": {"num_couplings": 2, "hidden": (8,), "rescale": "gaussianize"},
    "realnvp": {"num_levels": 2, "num_blocks": 1, "filters": 4},
    "glow": {
        "num_levels": 1,
        "num_steps": 1,
        "width": 4,
        "coupling": "spline",
        "num_bins": 4,
        "rescale": "gaussianize",
    },
    "maf": {"num_layers": 1, "hidden": (8,), "transformer": "spline", "alpha": 0.05},
    "maf_conv": {"width": 4, "num_blocks": 1},
    "maf mixture": {"num_layers": 1, "hidden": (8,), "mixture_components": 2, "alpha": 0.05},
}
FLOW = {"nice": {"base": "logistic"}, "maf": {"num_classes": 3}}


def random_flow(name):
    """A flow of a family with random weights, and images with their labels, of which some are its own samples."""
    keras.utils.set_random_seed(0)
    family, arguments = name.split()[0], FLOW.get(name, {})
    shape = (2, 2, 1) if family == "maf" else (4, 4, 1)  # its sampling has a pass of the network for each pixel
    if name == "realnvp":
        arguments = {"dequantizer": variational(shape, VALUES, num_couplings=1, filters=4, num_blocks=1)}
    transform = MODELS[family](shape, VALUES, condition_size=arguments.get("num_classes", 0), **MODEL[name])
    flow, rng = Flow(transform, shape, num_values=VALUES, **arguments), np.random.default_rng(0)
    for weight in flow.trainable_variables:
        weight.assign(weight + 0.1 * rng.normal(size=weight.shape))
    labels = np.array([0, 1, 2, 0, 1], "int32") if flow.num_classes else None
    images = rng.integers(0, VALUES, (5, *shape), dtype="uint8")
    images[:2] = flow.sample(2, seed=1, condition=None if labels is None else labels[:2])
    return flow, images, labels


def run(folder, name, **inputs):
    """What one of the models in `folder` returns for arrays, as a dict."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # its threads wait actively, at the cost of the other tests
    session = onnxruntime.InferenceSession(folder / f"{name}.onnx", options)
    given = {key: value for key, value in inputs.items() if value is not None}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, given), strict=True))


@pytest.mark.parametrize("name", MODEL)
def test_onnxruntime_agrees_with_the_flow_of_every_family(name, tmp_path):
    flow, images, labels = random_flow(name)
    export_onnx(flow, tmp_path, names=("log_prob", "encode", "decode"))
    latents, log_prob = flow.encode(images, labels), flow.log_prob(images, labels)
    results = run(tmp_path, "log_prob", images=images, label=labels)
    np.testing.assert_allclose(results["log_prob"], log_prob, atol=1e-3)
    np.testing.assert_allclose(results["bits_per_dim"], flow.bits_per_dim(images, labels), atol=1e-4)
    np.testing.assert_allclose(run(tmp_path, "encode", images=images, label=labels)["latents"], latents, atol=1e-3)
    # encode takes the middle of a pixel, from which no rounding leads to a neighbour.
    decoded = run(tmp_path, "decode", latents=latents, label=labels)["images"]
    np.testing.assert_array_equal(decoded, images)
    assert decoded.dtype == np.uint8
    one = None if labels is None else labels[:1]
    np.testing.assert_array_equal(run(tmp_path, "decode", latents=latents[:1], label=one)["images"], images[:1])


def test_a_model_of_the_zoo_becomes_a_version_folder_with_samples_of_seeds(trained, tmp_path):
    folder = deploy("tiny", tmp_path, format="onnx")
    assert {path.name for path in folder.iterdir()} == {
        *("decode.onnx", "encode.onnx", "log_prob.onnx", "sample.onnx"),
        *("manifest.json", "metrics.json", "recipe.toml"),
    }
    seeds, temperature = np.array([3, 4, 3], "int32"), np.array([1, 1, 0.5], "float32")
    images = run(folder, "sample", seed=seeds, temperature=temperature)["images"]
    expected = np.asarray(zoo.load("tiny").sample_from_seeds(seeds, temperature))
    assert np.mean(images != expected) < 0.01  # of a pixel at an integer, rounding decides
    with pytest.raises(InputError, match="TensorFlow Serving reads no ONNX"):
        deploy("tiny", tmp_path / "other", serving=True, format="onnx")


def test_operations_that_tf2onnx_lacks_keep_the_digits_of_small_numbers():
    import tensorflow as tf

    x = np.array([-0.999, -0.3, -1e-3, -1e-7, 0, 1e-30, 1e-7, 1e-3, 0.3, 0.7, 5, 1e9, np.inf], "float32")
    y = np.array([-6, -1, -1e-3, 0, 1e-3, 0.5, 1, 2, 4, 7, 9], "float32")
    p = np.array([1e-30, 1e-20, 1e-10, 1e-4, 0.05, 0.3, 0.5, 0.6, 0.9, 0.9999], "float32")
    signature = [tf.TensorSpec((None,), tf.float32, name) for name in "xyp"]
    traced = tf.function(
        lambda x, y, p: (tf.math.log1p(x), tf.math.expm1(y), tf.math.erfc(y), tf.math.ndtri(p)), signature
    )
    model, _ = tf2onnx.convert.from_function(traced, signature, 18, custom_op_handlers=HANDLERS)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    log1p, expm1, erfc, ndtri = session.run(None, {"x": x, "y": y, "p": p})
    np.testing.assert_allclose(log1p, np.log1p(x.astype("float64")), rtol=1e-6)
    np.testing.assert_allclose(expm1, np.expm1(y.astype("float64")), rtol=1e-6)
    np.testing.assert_allclose(erfc, special.erfc(y.astype("float64")), rtol=2e-5)
    np.testing.assert_allclose(ndtri, special.ndtri(p.astype("float64")), rtol=1e-6, atol=1e-7)
