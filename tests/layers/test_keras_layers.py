"""Keras's own tests of a layer, and its functional API, for everything that the library exports.

Without the mixed-precision check: flow layers, transformers and the last layers of networks are float32 by contract
whatever the policy says, and Keras's check wants the policy's dtype everywhere.
"""

import keras
import numpy as np
import pytest
from keras.src import testing

from tfflows import dequantizers, layers, nets, transformers

# of the test's own training step, which shuffles a generator
pytestmark = pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")


def net():
    return nets.MLP([4])


VECTOR, IMAGE, POINTS = (3, 4), (3, 4, 4, 2), (3, 2)  # points on the sphere: heights and angles
# class -> its arguments and the shape of x; layers as arguments are made anew for each test
FLOW_LAYERS = {
    "ActNorm": (dict, VECTOR),
    "Autoregressive": (lambda: {"conditioner": nets.MADE([5])}, VECTOR),
    "BatchNorm": (lambda: {"learned": True}, IMAGE),
    "Chain": (lambda: {"layers": [layers.ActNorm(), layers.Squeeze()]}, IMAGE),
    "ChannelAffine": (dict, IMAGE),
    "Continuous": (lambda: {"velocity": net(), "num_steps": 1}, (3, 2)),
    "Conv1x1": (lambda: {"lu": True}, IMAGE),
    "Coupling": (lambda: {"conditioner": net()}, VECTOR),
    "Cylinder": (lambda: {"conditioner": net(), "num_bins": 3}, POINTS),
    "DiagonalScale": (dict, IMAGE),
    "Flatten": (dict, IMAGE),
    "Gaussianize": (lambda: {"num_values": 3}, IMAGE),
    "Invert": (lambda: {"layer": layers.Conv1x1()}, VECTOR),
    "Logit": (dict, IMAGE),
    "Multiscale": (lambda: {"layers": [layers.ActNorm(), layers.ActNorm()]}, IMAGE),
    "Permute": (dict, VECTOR),
    "Planar": (dict, VECTOR),
    "Rescale": (dict, IMAGE),
    "Rotation": (dict, POINTS),
    "Squeeze": (dict, IMAGE),
}
NETS = {
    "MADE": (lambda: {"hidden": [5], "outputs": 8}, VECTOR),
    "MLP": (lambda: {"hidden": [5], "outputs": 8}, VECTOR),
    "ConvResNet": (lambda: {"filters": 3, "outputs": 5, "num_blocks": 1, "l2": 0.1}, IMAGE),
    "GlowConvNet": (lambda: {"width": 3, "outputs": 5}, IMAGE),
    "Periodic": (lambda: {"net": net(), "outputs": 8}, VECTOR),
    "PeriodicMADE": (lambda: {"hidden": [5], "outputs": 8}, VECTOR),
    "PixelCNN": (lambda: {"image_shape": (2, 2, 1), "width": 3, "num_blocks": 1, "outputs": 8}, VECTOR),
    "PreActivationResNet": (lambda: {"width": 3, "num_blocks": 1, "outputs": 5}, IMAGE),
    "WeightNormConv2D": (lambda: {"filters": 5}, IMAGE),
    "ZeroConv2D": (lambda: {"outputs": 5}, IMAGE),
}
AUTOREGRESSIVE = ("MADE", "PeriodicMADE", "PixelCNN")  # whose outputs are [B, P, n]
TRANSFORMERS = {
    "Additive": dict,
    "Affine": dict,
    "CircularSpline": lambda: {"num_bins": 3},
    "DiscretizedLogistics": lambda: {"num_values": 3, "num_components": 2},
    "IntervalSpline": lambda: {"num_bins": 3},
    "MixtureOfGaussians": lambda: {"num_components": 2},
    "Spline": lambda: {"num_bins": 3},
}
BASES = {"BijectorLayer", "Conditioner", "FlowLayer", "Transformer", "get"}
PARTS = {"GatedBlock"}  # of a PixelCNN, without a `call` of its own


def test_everything_that_is_exported_is_tested():
    for module, table in ((layers, FLOW_LAYERS), (nets, NETS), (transformers, TRANSFORMERS)):
        assert set(module.__all__) - BASES - PARTS == set(table)


def values(shape):
    """Values in the domain of every layer."""
    return np.random.default_rng(0).uniform(0.1, 0.9 if shape == POINTS else 2.9, size=shape).astype("float32")


def check(cls, arguments, **kwargs):
    testing.TestCase().run_layer_test(cls, arguments, run_mixed_precision_check=False, **kwargs)


@pytest.mark.parametrize("name", FLOW_LAYERS)
def test_flow_layers(name):
    make, shape = FLOW_LAYERS[name]
    cls = getattr(layers, name)
    layer = cls(**make())
    layer.build(shape)
    latent = layer.latent_shape(shape[1:])
    check(
        cls,
        make(),
        input_data=values(shape),
        expected_output_shape=((3, *latent), (3,)),
        run_training_check=bool(layer.trainable_weights),
    )


@pytest.mark.parametrize("name", NETS)
def test_networks(name):
    make, shape = NETS[name]
    expected = (3, 2, 4) if name in AUTOREGRESSIVE else (*shape[:-1], make().get("outputs", 5))
    check(getattr(nets, name), make(), input_shape=shape, expected_output_shape=expected)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers(name):
    """`call` is the density direction, as in flow layers: (x, a network's outputs) -> z and log|dz/dx|."""
    cls, make = getattr(transformers, name), TRANSFORMERS[name]
    size = 4 * cls(**make()).num_parameters
    rng = np.random.default_rng(0)
    x, outputs = rng.normal(size=(3, 4)).astype("float32"), rng.normal(size=(3, size)).astype("float32")
    x = {"IntervalSpline": np.tanh(x), "DiscretizedLogistics": values((3, 4))}.get(name, x)
    check(
        cls,
        make(),
        input_data=x,
        call_kwargs={"outputs": outputs},
        expected_output_shape=((3, 4), (3, 4)),
        run_training_check=False,
    )
    layer = cls(**make())
    model = keras.Model(inputs := [keras.Input((4,)), keras.Input((size,))], layer(*inputs))
    z, log_det = model([x, outputs])
    bijector = layer.bijector(outputs)
    np.testing.assert_allclose(bijector.forward(np.asarray(z)), x, atol=1e-4)
    assert log_det.shape == (3, 4)


@pytest.mark.parametrize("make", [dequantizers.UniformDequantizer])
def test_dequantizers_are_rebuilt_from_their_configuration(make):
    testing.TestCase().run_class_serialization_test(make())


@pytest.mark.parametrize("name", FLOW_LAYERS)
def test_the_functional_api_gives_what_the_layer_gives(name):
    make, shape = FLOW_LAYERS[name]
    layer = getattr(layers, name)(**make())
    inputs = keras.Input(shape[1:])
    model = keras.Model(inputs, layer(inputs))
    x = values(shape)
    for got, want in zip(model(x), layer.inverse_and_log_det(x), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_a_condition_is_a_second_input():
    image, condition = keras.Input((4, 4, 2)), keras.Input((3,))
    layer = layers.Coupling(nets.GlowConvNet(4), condition_size=3)
    model = keras.Model([image, condition], layer(image, condition=condition))
    z, log_det = model([np.ones((5, 4, 4, 2), "float32"), np.ones((5, 3), "float32")])
    assert (z.shape, log_det.shape) == ((5, 4, 4, 2), (5,))
    vector, made = keras.Input((4,)), nets.MADE([5], outputs=8, condition_size=3)
    assert made(vector, condition=condition).shape == (None, 2, 4)
