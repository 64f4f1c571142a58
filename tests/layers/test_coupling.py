"""Couplings against TFP's, and densities in two dimensions of every family."""

import keras
import numpy as np
import pytest
from keras import ops

from tfflows import Flow, layers, nets, transformers
from tfflows._backend import tfb


def randomized(model, scale):
    rng = np.random.RandomState(1)
    for weight in model.trainable_weights:
        weight.assign(weight + scale * rng.normal(size=weight.shape))
    return model


@pytest.mark.parametrize("transformer", ["affine", "additive"])
def test_equals_real_nvp_of_tfp(transformer):
    kind = transformers.Affine("clamp") if transformer == "affine" else transformers.Additive()
    layer = layers.Coupling(nets.MLP([8]), transformer=kind)
    layer.build((None, 5))
    randomized(layer, 0.5)

    def shift_and_log_scale(passed, units):
        outputs = layer.conditioner(passed)
        if transformer == "additive":
            return outputs, None
        shift, h = ops.split(outputs, 2, axis=-1)
        return shift, 5.0 * ops.tanh(h / 5.0)

    oracle = tfb.RealNVP(num_masked=2, shift_and_log_scale_fn=shift_and_log_scale)
    z = ops.convert_to_tensor(np.random.RandomState(0).normal(size=(6, 5)), "float32")
    x, log_det = layer.forward_and_log_det(z)
    np.testing.assert_allclose(ops.convert_to_numpy(x), ops.convert_to_numpy(oracle.forward(z)), atol=1e-6)
    expected = ops.broadcast_to(oracle.forward_log_det_jacobian(z, event_ndims=1), (6,))
    np.testing.assert_allclose(ops.convert_to_numpy(log_det), ops.convert_to_numpy(expected), atol=1e-6)


def couplings(**kwargs):
    return [layers.Coupling(nets.MLP([16, 16]), flip=i % 2 == 1, **kwargs) for i in range(4)]


def autoregressive(transformer):
    return [layers.Autoregressive(nets.MADE([16, 16]), transformer), layers.Permute()]


FAMILIES = {
    "realnvp": couplings,
    "nice": lambda: [layers.DiagonalScale(), *couplings(transformer="additive")],
    "glow": lambda: [layer for c in couplings() for layer in (c, layers.Conv1x1(), layers.ActNorm())],
    "spline coupling": lambda: couplings(transformer=transformers.Spline(6)),
    "maf": lambda: autoregressive("affine") + autoregressive("affine"),
    "iaf": lambda: [layers.Invert(autoregressive("affine")[0]), layers.Permute()],
    "maf with splines": lambda: autoregressive(transformers.Spline(6)),
    "maf with mixtures": lambda: autoregressive(transformers.MixtureOfGaussians(3)),
    "planar": lambda: [layers.Planar() for _ in range(4)],
    "continuous": lambda: [layers.Continuous(nets.MLP([16], activation="tanh"))],
}


@pytest.mark.parametrize("base", ["normal", "logistic", "mixture"])
def test_density_of_every_base_integrates_to_one(base):
    assert_integrates_to_one(FAMILIES["realnvp"](), base)


@pytest.mark.parametrize("family", FAMILIES)
def test_density_of_every_family_integrates_to_one(family):
    assert_integrates_to_one(FAMILIES[family](), "normal")


def assert_integrates_to_one(transform, base):
    keras.utils.set_random_seed(0)
    flow = randomized(Flow(layers.Chain(transform), (2,), base=base, dequantizer=None), 0.05)  # smooth on the grid
    extent, points = (30, 1201) if base != "normal" else (12, 601)
    side = np.linspace(-extent, extent, points, dtype="float32")
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    log_prob = flow.predict(grid, batch_size=50_000, verbose=0)
    assert abs(np.exp(log_prob.astype("float64")).sum() * (side[1] - side[0]) ** 2 - 1) < 1e-3
