"""The optimizers: the results and the state of Keras's own, and what Muon does to a kernel."""

import keras
import numpy as np
import pytest

from tfflows import Flow, layers, nets
from tfflows.errors import InputError
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


def test_muon_makes_the_singular_values_of_kernels_one_and_is_adam_elsewhere():
    random = np.random.RandomState(0)
    shapes = {"kernel": (3, 3, 4, 8), "direction": (1, 1, 8, 6), "kernel_1": (7, 5), "matrix": (6, 6), "bias": (8,)}
    first = {name: random.randn(*shape).astype("float32") for name, shape in shapes.items()}
    gradients = [{name: random.randn(*shape).astype("float32") for name, shape in shapes.items()} for _ in range(2)]

    def steps(name, **settings):
        variables = [keras.Variable(value, name=name) for name, value in first.items()]
        optimizer = optimizers.get(name, learning_rate=0.01, **settings)
        for gradient in gradients:
            before = [variable.numpy() for variable in variables]
            optimizer.apply([keras.ops.convert_to_tensor(value) for value in gradient.values()], variables)
        return {name: (old, new.numpy()) for name, old, new in zip(first, before, variables, strict=True)}

    momentum = 0.9
    by_muon, by_adam = steps("muon", momentum=momentum), steps("adam", epsilon=1e-7)
    for name in ("kernel", "direction", "kernel_1"):
        before, after = by_muon[name]
        one, two = (gradient[name].reshape(-1, before.shape[-1]) for gradient in gradients)
        u, _, v = np.linalg.svd(two + momentum * (momentum * one + two), full_matrices=False)
        step = (before - after).reshape(one.shape) / (0.01 * 0.2 * np.sqrt(max(one.shape)))
        in_their_directions = u.T @ step @ v.T
        # Five steps of Newton and Schulz end near 1, not at it.
        singular = np.diag(in_their_directions)
        assert np.all((singular > 0.6) & (singular < 1.25)), (name, singular)
        np.testing.assert_allclose(in_their_directions, np.diag(singular), atol=1e-4, err_msg=name)
    for name in ("matrix", "bias"):
        np.testing.assert_allclose(by_muon[name][1], by_adam[name][1], atol=1e-6, err_msg=name)


@pytest.mark.parametrize("optimizer", [optimizers.Adam, optimizers.AdamW, optimizers.Adamax, optimizers.Muon])
def test_training_keeps_what_masks_hide_hidden(optimizer):
    """Where a step moves a weight that a mask hides, the Jacobian is no longer triangular and log p is wrong."""
    net = nets.MADE((32, 32))  # a unit of each degree
    parts = [layers.Flatten(), layers.Autoregressive(net)]
    flow = Flow(layers.Chain.from_data([layers.Rescale(17), *parts]), (4, 4, 2), num_values=17)
    averaging = {"use_ema": True, "ema_momentum": 0.9, "weight_decay": 1e-2}
    theirs = keras.optimizers.Muon()
    for refused in (theirs, keras.optimizers.serialize(theirs), keras.optimizers.LossScaleOptimizer(theirs)):
        with pytest.raises(InputError, match="masks of MADE hide: use 'muon'"):
            flow.compile(refused)
    flow.compile(optimizer(0.01, **averaging), jit_compile=keras.backend.backend() == "jax")
    flow.fit(IMAGES[:4], batch_size=4, epochs=3, verbose=0)
    x = np.random.RandomState(1).randn(2, 32).astype("float32")
    x[1, :20] = x[0, :20]
    outputs = keras.ops.convert_to_numpy(net(x))
    np.testing.assert_array_equal(outputs[0, :, :21], outputs[1, :, :21])
    assert np.any(outputs[0] != outputs[1])


def test_names_mean_these_and_files_keep_them(tmp_path):
    flow = trained("adam", keras.backend.backend() == "jax")
    assert type(flow.optimizer) is optimizers.Adam
    flow.save(tmp_path / "flow.keras")
    restored = keras.saving.load_model(tmp_path / "flow.keras")
    assert type(restored.optimizer) is optimizers.Adam
    for variable, expected in zip(restored.optimizer.variables, flow.optimizer.variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), expected.numpy())
