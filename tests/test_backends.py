"""The same model on TensorFlow and JAX, plain and compiled by XLA."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from tfflows import Flow, models
from tfflows.data.digits import load_digits

TRAINED = Path(__file__).parent / "jax_trained"  # by tools/train_on_jax.py
IMAGES = load_digits("test")["image"][:16]


@pytest.mark.parametrize("name", ["glow", "realnvp", "maf"])
def test_what_jax_trained_has_the_same_log_prob_here(name, tmp_path):
    flow = keras.saving.load_model(TRAINED / f"{name}.keras")
    expected = json.loads((TRAINED / "log_prob.json").read_text())[name]
    np.testing.assert_allclose(flow.log_prob(IMAGES), expected, rtol=1e-5)
    from_weights = Flow.from_config(flow.get_config())
    from_weights.load_weights(TRAINED / f"{name}.weights.h5")
    np.testing.assert_array_equal(from_weights.log_prob(IMAGES), flow.log_prob(IMAGES))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        from tfflows.export import export

        export(flow, tmp_path)
        served = tf.saved_model.load(tmp_path).signatures["log_prob"](images=tf.constant(IMAGES))
        np.testing.assert_allclose(served["log_prob"], expected, rtol=1e-5)


MODELS = {
    "nice": (models.nice, {"hidden": (16,)}),
    "realnvp": (models.realnvp, {"num_levels": 1, "num_blocks": 1, "filters": 4}),
    "glow": (models.glow, {"num_levels": 2, "num_steps": 1, "width": 4}),
    "glow of splines": (
        models.glow,
        {"num_levels": 1, "num_steps": 1, "width": 4, "coupling": "spline", "num_bins": 4, "rescale": "gaussianize"},
    ),
    "maf": (models.maf, {"num_layers": 2, "hidden": (16,)}),
    "maf mog": (models.maf, {"num_layers": 1, "hidden": (16,), "mixture_components": 3}),
    "maf of splines": (models.maf, {"num_layers": 1, "hidden": (16,), "transformer": "spline", "batch_norm": False}),
}


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX runs on XLA alone")
@pytest.mark.parametrize("name", MODELS)
def test_xla_trains_measures_and_samples_as_plain_graphs_do(name):
    import tensorflow as tf

    model, arguments = MODELS[name]
    side = 2 if model is models.maf else 4  # XLA's time grows with the dimensions that MAF samples one after another
    middle = IMAGES[:, 4 - side // 2 : 4 + side // 2, 4 - side // 2 : 4 + side // 2]
    flows = []
    for jit_compile in (False, True):
        keras.utils.set_random_seed(0)
        flow = Flow(model((side, side, 1), 17, **arguments), (side, side, 1), num_values=17)
        flow.compile(keras.optimizers.SGD(1e-3), jit_compile=jit_compile)
        flow.fit(middle, batch_size=8, epochs=1, shuffle=False, verbose=0)
        flows.append(flow)
    plain, compiled = flows
    for weight, expected in zip(compiled.weights, plain.weights, strict=True):
        np.testing.assert_allclose(weight.numpy(), expected.numpy(), atol=1e-4, err_msg=weight.path)
    log_prob = tf.function(plain._log_prob, jit_compile=True)(tf.constant(middle))
    np.testing.assert_allclose(log_prob, plain.log_prob(middle), rtol=1e-4)
    sample = tf.function(plain.sample_from_seeds, jit_compile=True)
    arguments = np.arange(200, dtype="int32"), np.ones(200, "float32")
    images = [ops.convert_to_numpy(function(*arguments)) for function in (sample, plain.sample_from_seeds)]
    assert np.mean(images[0] != images[1]) < 1e-3  # a value next to an integer may round to the other side
