"""What layers and networks promise each other: widths, order, configurations."""

import keras
import numpy as np
import pytest
from keras import ops

from tfflows import Flow, layers, nets

pytestmark = pytest.mark.backend_free


def test_a_network_takes_its_width_once():
    net = nets.MLP([4])
    net.build_for((None, 3), 6)
    net.build_for((None, 3), 6)
    assert net(np.zeros((2, 3), "float32")).shape == (2, 6)
    with pytest.raises(ValueError, match=r"^MLP returns 6 channels: 4 are needed here; leave out `outputs`"):
        net.build_for((None, 3), 4)


@pytest.mark.parametrize(
    "make",
    [
        lambda net: layers.Coupling(net),
        lambda net: layers.Continuous(net),
        lambda net: layers.Autoregressive(nets.MADE([4], outputs=5)),
    ],
)
def test_a_second_width_is_refused_wherever_the_network_stands(make):
    with pytest.raises(ValueError, match=r"^(MLP|MADE) returns 5 channels: \d are needed here"):
        make(nets.MLP([4], outputs=5)).build((None, 4))


def test_any_keras_layer_is_a_conditioner():
    layer = layers.Coupling(keras.layers.Dense(4))
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    z, _ = layer(x)
    np.testing.assert_allclose(layer.forward_and_log_det(z)[0], x, atol=1e-5)
    with pytest.raises(ValueError, match=r"^Dense returns 3 channels: 4 are needed here\.$"):
        layers.Coupling(keras.layers.Dense(3)).build((None, 4))


def test_layers_are_listed_from_either_end():
    first, last = layers.Permute(), layers.Permute(3)
    chain = layers.Chain.from_data([last, first], recompute="inverse")
    assert chain.layers == layers.Chain([first, last]).layers
    assert chain.recompute == "inverse"


@keras.saving.register_keras_serializable("tests")
class Gate(layers.FlowLayer):
    """A layer of a user's own, with a list, a layer and an initializer in its configuration."""

    def __init__(self, nets, inner, initializer, **kwargs):
        super().__init__(**kwargs)
        self.nets, self.inner, self.initializer = list(nets), inner, keras.initializers.get(initializer)

    def build(self, input_shape):
        if not self.inner.built:
            self.inner.build(input_shape)

    def forward_and_log_det(self, z, condition=None, training=False):
        return self.inner.forward_and_log_det(z)

    def inverse_and_log_det(self, x, condition=None, training=False):
        return self.inner.inverse_and_log_det(x)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        parts = {"nets": list(map(serialize, self.nets)), "inner": serialize(self.inner)}
        return {**super().get_config(), **parts, "initializer": serialize(self.initializer)}


def test_configurations_within_configurations_need_no_from_config(tmp_path):
    gate = Gate([nets.MLP([3]), nets.MLP([5])], layers.Conv1x1(seed=4), "ones")
    flow = Flow(layers.Chain([gate]), (4,), dequantizer=None)
    flow.save(tmp_path / "flow.keras")
    loaded = keras.saving.load_model(tmp_path / "flow.keras")
    found = loaded.transform.layers[0]
    assert [net.hidden for net in found.nets] == [(3,), (5,)]
    assert isinstance(found.initializer, keras.initializers.Ones)
    x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    np.testing.assert_allclose(ops.convert_to_numpy(loaded.log_prob(x)), flow.log_prob(x), rtol=1e-6)
