"""The contract of every layer, by `check_flow_layer`, and the faults that it must catch."""

import keras
import numpy as np
import pytest
import test_manifolds
from keras import ops

from tfflows import check_flow_layer, layers, models, nets, transformers
from tfflows._backend import tfb
from tfflows.layers.base import per_example, sum_event


def coupling(net=None, **kwargs):
    return lambda: layers.Coupling(net() if net else nets.MLP([8]), **kwargs)


def conv():
    return nets.ConvResNet(4, 1)


def autoregressive(transformer="affine", **kwargs):
    return lambda: layers.Autoregressive(nets.MADE([12, 12], **kwargs), transformer)


LAYERS = {
    "additive halves": (coupling(transformer="additive"), (5,)),
    "affine halves flipped": (coupling(flip=True), (5,)),
    "affine odd_even": (coupling(mask="odd_even"), (7,)),
    "affine sigmoid": (coupling(transformer=transformers.Affine("sigmoid"), mask="odd_even", flip=True), (7,)),
    "affine clamp": (coupling(transformer=transformers.Affine("clamp", bound=2.0)), (6,)),
    "checkerboard": (coupling(conv, mask="checkerboard"), (4, 3, 2)),
    "checkerboard flipped": (coupling(conv, mask="checkerboard", flip=True), (3, 4, 1)),
    "channels": (coupling(conv), (2, 3, 4)),
    "spline": (coupling(transformer=transformers.Spline(4)), (5,)),
    "autoregressive": (autoregressive(), (5,)),
    "autoregressive of random degrees": (autoregressive(degrees="random"), (20,)),
    "autoregressive mixture of gaussians": (autoregressive(transformers.MixtureOfGaussians(3)), (4,)),
    "autoregressive spline": (autoregressive(transformers.Spline(4)), (4,)),
    "inverse autoregressive": (lambda: layers.Invert(autoregressive()()), (5,)),
    "batch norm": (layers.BatchNorm, (3, 2, 2)),
    "batch norm learned": (lambda: layers.BatchNorm(learned=True), (4,)),
    "squeeze": (layers.Squeeze, (4, 6, 2)),
    "flatten": (layers.Flatten, (2, 3, 2)),
    "reverse": (layers.Permute, (2, 2, 5)),
    "random permutation": (lambda: layers.Permute(3), (6,)),
    "diagonal scale": (layers.DiagonalScale, (2, 3)),
    "channel affine": (layers.ChannelAffine, (2, 2, 3)),
    "actnorm": (layers.ActNorm, (3, 2, 2)),
    "1x1 convolution": (layers.Conv1x1, (2, 3, 4)),
    "1x1 convolution of vectors": (layers.Conv1x1, (5,)),
    "1x1 convolution in LU form": (lambda: layers.Conv1x1(lu=True, seed=1), (2, 3, 4)),
    "planar": (layers.Planar, (3,)),
    "continuous": (lambda: layers.Continuous(nets.MLP([8], activation="tanh"), num_steps=16), (2,)),
    "rescale": (lambda: layers.Rescale(17), (2, 2, 1)),
    "logit": (lambda: layers.Logit(256, 0.05), (2, 2, 1)),
    "gaussianize": (lambda: layers.Gaussianize(256), (2, 3, 1)),
    "gaussianize with fixed masses": (lambda: layers.Gaussianize(17, learned=False), (2, 3, 1)),
    "gaussianize per pixel": (lambda: layers.Gaussianize(17, per_pixel=True), (2, 2, 2)),
    "gaussianize per pixel with fixed masses": (lambda: layers.Gaussianize(5, True, False), (4,)),
    "chain": (lambda: layers.Chain([coupling(flip=True)(), layers.DiagonalScale(), coupling()()]), (4,)),
    "multiscale": (
        lambda: layers.Multiscale(
            [coupling(conv, mask="checkerboard")(), layers.Chain([coupling(conv)(), layers.Squeeze()])]
        ),
        (4, 4, 1),
    ),
    "realnvp": (lambda: models.realnvp((4, 4, 1), 17, num_levels=2, num_blocks=1, filters=4), (4, 4, 1)),
    "glow": (lambda: models.glow((4, 4, 1), 17, num_levels=2, num_steps=1, width=4), (4, 4, 1)),
    "glow of splines": (
        lambda: models.glow((4, 4, 1), 17, num_levels=2, num_steps=1, width=4, coupling="spline", num_bins=4),
        (4, 4, 1),
    ),
    "glow of mixtures": (
        lambda: models.glow((4, 4, 1), 17, num_levels=2, num_steps=1, width=4, coupling="mixture", num_components=3),
        (4, 4, 1),
    ),
    "glow of residual networks": (
        lambda: models.glow((4, 4, 1), 17, num_levels=2, num_steps=1, width=4, network="residual"),
        (4, 4, 1),
    ),
    "glow without learned top": (
        lambda: models.glow((4, 4, 1), 17, num_levels=2, num_steps=1, width=8, learn_top=False),
        (4, 4, 1),
    ),
    "maf": (lambda: models.maf((2, 2, 1), 17, num_layers=2, hidden=(8,), alpha=0.05), (2, 2, 1)),
    "maf mog": (
        lambda: models.maf((2, 2, 1), 17, num_layers=1, hidden=(8,), mixture_components=3, alpha=0.05),
        (2, 2, 1),
    ),
    "maf of splines": (
        lambda: models.maf(
            (2, 2, 1), 17, num_layers=2, hidden=(8,), transformer="spline", batch_norm=False, alpha=0.05
        ),
        (2, 2, 1),
    ),
    "neural spline": (
        lambda: models.neural_spline((4, 4, 1), 17, num_levels=2, num_steps=1, width=8, num_blocks=1, dropout=0.2),
        (4, 4, 1),
    ),
    "neural spline of one scale": (
        lambda: models.neural_spline((4, 4, 1), 17, num_levels=1, num_steps=1, width=8, num_blocks=1, multiscale=False),
        (4, 4, 1),
    ),
    "nice": (lambda: models.nice((4, 4, 1), 17, hidden=(8,)), (4, 4, 1)),
}


# Slow on JAX, while their parts are other entries of the table.
SLOW_ON_JAX = ("maf mog", "maf of splines", "glow without learned top", "neural spline of one scale")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.backend_free] * (name in SLOW_ON_JAX)) for name in LAYERS]
)
def test_contract(name):
    check_flow_layer(*LAYERS[name])


GAUSSIANIZED = {
    "glow": lambda **arguments: models.glow((4, 4, 1), 17, num_levels=2, num_steps=1, width=4, lu=True, **arguments),
    "maf": lambda **arguments: models.maf((4, 4, 1), 17, num_layers=2, hidden=(8,), **arguments),
    "nice": lambda **arguments: models.nice((4, 4, 1), 17, hidden=(8,), **arguments),
    "realnvp": lambda **arguments: models.realnvp((4, 4, 1), 17, num_levels=2, num_blocks=1, filters=4, **arguments),
}


# On JAX, which compiles each for long, one of each; every family has its contract on other pixels above.
@pytest.mark.parametrize(
    ("name", "per_pixel"),
    [
        pytest.param(name, per_pixel, marks=[pytest.mark.backend_free] * (name != ("maf" if per_pixel else "glow")))
        for name in GAUSSIANIZED
        for per_pixel in (False, True)
    ],
)
def test_contract_on_gaussianized_pixels(name, per_pixel):
    """With smaller weights and well-conditioned 1x1 convolutions: no float64 below 17 has a z above 8."""
    make_layer = GAUSSIANIZED[name]
    check_flow_layer(lambda: make_layer(rescale="gaussianize", per_pixel=per_pixel), (4, 4, 1), scale=0.05)


CONDITIONAL = {  # on a condition of 3 channels
    "coupling": (coupling(condition_size=3), (5,)),
    "checkerboard": (coupling(conv, mask="checkerboard", condition_size=3), (4, 4, 1)),
    "realnvp": (lambda: models.realnvp((4, 4, 1), 17, 3, num_levels=2, num_blocks=1, filters=4), (4, 4, 1)),
    "channel affine": (lambda: layers.ChannelAffine(3), (2, 2, 2)),
    "autoregressive": (autoregressive(condition_size=3), (5,)),
    "nice": (lambda: models.nice((4, 4, 1), 17, 3, hidden=(8,), alpha=0.05), (4, 4, 1)),
    "maf": (lambda: models.maf((2, 2, 1), 17, 3, num_layers=2, hidden=(8,), alpha=0.05), (2, 2, 1)),
    "glow": (
        lambda: models.glow((4, 4, 1), 17, 3, num_levels=2, num_steps=1, width=4, coupling="additive", lu=True),
        (4, 4, 1),
    ),
}


@pytest.mark.parametrize("name", CONDITIONAL)
def test_contract_with_a_condition(name):
    check_flow_layer(*CONDITIONAL[name], condition_size=3)


def test_every_exported_flow_layer_is_checked():
    """A new layer cannot be forgotten here: the instances above cover every class that `tfflows.layers` exports."""

    def classes(layer):
        yield type(layer)
        for inner in getattr(layer, "layers", []):
            yield from classes(inner)

    makers = [make_layer for make_layer, *_ in (*LAYERS.values(), *test_manifolds.LAYERS.values())]
    checked = {cls for make_layer in makers for cls in classes(make_layer())}
    exported = {cls for cls in map(layers.__dict__.get, layers.__all__) if issubclass(cls, layers.FlowLayer)}
    assert exported - {layers.FlowLayer, layers.BijectorLayer} <= checked


class Scaled(layers.FlowLayer):
    """x = exp(w) z, right but for the planted `fault`."""

    def __init__(self, fault=None, **kwargs):
        super().__init__(**kwargs)
        self.fault = fault

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1],), name="w")
        self.idle = self.add_weight(shape=(1,), name="idle") if self.fault == "idle weight" else None

    def forward_and_log_det(self, z, condition=None, training=False):
        w = ops.convert_to_tensor(self.w)
        return z * ops.exp(w), self.faulty(w, z)

    def inverse_and_log_det(self, x, condition=None, training=False):
        w = ops.convert_to_tensor(self.w)
        wrong = 1.001 if self.fault == "round trip" else 1.0
        return wrong * x * ops.exp(-w), self.faulty(-w, x)

    def faulty(self, w, x):
        log_det = sum_event(ops.broadcast_to(w, ops.shape(x)))
        match self.fault:
            case "10 % off":
                return 1.1 * log_det
            case "wrong sign":
                return -log_det
            case "mean for a sum":
                return log_det / x.shape[-1]
            case "scalar":
                return ops.sum(w)
            case "mean over the batch":
                return per_example(ops.mean(log_det + sum_event(x)) - ops.mean(sum_event(x)), x[:1])
        return log_det

    def get_config(self):
        return {**super().get_config(), "fault": self.fault}


FAULTS = {
    "10 % off": "log-det differs from autodiff",
    "wrong sign": "log-det differs from autodiff",
    "mean for a sum": "log-det differs from autodiff",
    "scalar": "log-det of shape",
    "mean over the batch": "log-det of shape",
    "idle weight": "gets no gradient",
    "round trip": "differs from",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault):
    with (
        pytest.raises(AssertionError, match=FAULTS[fault]),
        keras.saving.custom_object_scope({"Scaled": Scaled}),
    ):
        check_flow_layer(lambda: Scaled(fault), (4,))


def test_the_layer_of_the_planted_faults_passes_without_them():
    with keras.saving.custom_object_scope({"Scaled": Scaled}):
        check_flow_layer(Scaled, (4,))


def test_a_layer_that_forgets_an_argument_in_its_config_is_caught():
    class Forgetful(layers.BijectorLayer):
        def __init__(self, factor=1.0, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def bijector(self):
            return tfb.Scale(np.float64(self.factor))

        def get_config(self):
            return {"name": self.name}

    scope = keras.saving.custom_object_scope({"Forgetful": Forgetful})
    with scope, pytest.raises(AssertionError, match="saved and loaded"):
        check_flow_layer(lambda: Forgetful(2.0), (3,))
