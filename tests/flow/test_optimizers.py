"""The optimizers that need one operation for each weight: the results and the state of Keras's own."""

import keras
import numpy as np
import pytest

from tfflows import Flow, layers, nets
from tfflows.flow import optimizers

IMAGES = np.random.RandomState(0).randint(0, 17, (24, 4, 4, 2)).astype("uint8")


def trained(optimizer, jit_compile):
    keras.utils.set_random_seed(0)
    parts = [layers.Coupling(nets.ConvResNet(4, 1)), layers.ActNorm(), layers.Rescale(17)]
    flow = Flow(layers.Chain(parts), (4, 4, 2), num_values=17)
    flow.compile(optimizer, jit_compile=jit_compile)
    flow.fit(IMAGES, batch_size=4, shuffle=False, verbose=0)
    return flow


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(("name", "theirs"), [("adam", keras.optimizers.Adam), ("adamw", keras.optimizers.AdamW)])
def test_training_is_that_of_keras(name, theirs, jit_compile):
    jit_compile = jit_compile or keras.backend.backend() == "jax"
    settings = {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-5, "global_clipnorm": 1.0}
    settings |= {"use_ema": True, "ema_momentum": 0.9}
    ours = trained(optimizers.get(name, **settings), jit_compile)
    reference = trained(theirs(**settings), jit_compile)
    states = (made.variables + made.optimizer.variables for made in (ours, reference))
    for variable, expected in zip(*states, strict=True):
        np.testing.assert_allclose(variable.numpy(), expected.numpy(), atol=1e-5, err_msg=variable.path)


def test_names_mean_these_and_files_keep_them(tmp_path):
    flow = trained("adam", keras.backend.backend() == "jax")
    assert type(flow.optimizer) is optimizers.Adam
    flow.save(tmp_path / "flow.keras")
    restored = keras.saving.load_model(tmp_path / "flow.keras")
    assert type(restored.optimizer) is optimizers.Adam
    for variable, expected in zip(restored.optimizer.variables, flow.optimizer.variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), expected.numpy())
