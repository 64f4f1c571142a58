"""Chain(recompute="inverse"): the same gradients, states and training as with stored activations."""

import keras
import numpy as np
import pytest
from keras import ops

from tfflows import Flow, check_flow_layer, layers, models, nets
from tfflows._backend.autodiff import gradients
from tfflows.flow.check import double_precision

TOLERANCE = {"float64": 1e-10, "float32": 1e-4}


def chain(recompute):
    """Every kind of state inside: dropout's seeds, actnorm, and averages of a layer that cannot be rebuilt."""
    keras.utils.set_random_seed(0)
    parts = [layers.Coupling(nets.ConvResNet(4, 1, dropout=0.2), mask="checkerboard", condition_size=3)]
    for seed in range(3):
        net = nets.GlowConvNet(8, dropout=0.3)
        parts += [layers.Coupling(net, condition_size=3), layers.Conv1x1(seed=seed), layers.ActNorm()]
        if seed == 1:
            parts.append(layers.BatchNorm())
    made = layers.Chain(parts, recompute)
    made.build((None, 4, 4, 4))
    random = np.random.default_rng(0)
    for weight in made.trainable_weights:
        weight.assign(weight + 0.2 * random.normal(size=weight.shape))
    return made


def after_a_loss(recompute, dtype):
    """The gradients and the states after one evaluation in training."""
    made, random = chain(recompute), np.random.default_rng(1)
    x = ops.convert_to_tensor(random.normal(size=(5, 4, 4, 4)).astype(dtype))
    condition = ops.convert_to_tensor(random.normal(size=(5, 3)).astype(dtype))
    found = []

    def loss():
        z, log_det = made.inverse_and_log_det(x, condition, training=True)
        found[:] = [variable.value for variable in made.non_trainable_variables]
        return ops.sum(ops.square(z)) - ops.sum(ops.sin(log_det))

    slopes = [ops.convert_to_numpy(slope) for slope in gradients(loss, made.trainable_variables)]
    eager = keras.backend.backend() == "tensorflow"  # on JAX what a compiled function assigned is gone
    return slopes, [ops.convert_to_numpy(value) for value in found] if eager else []


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gradients_and_states_are_those_of_stored_activations(dtype):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        with double_precision():
            (slopes, states), (expected, expected_states) = (after_a_loss(r, dtype) for r in ("inverse", None))
    finally:
        keras.config.set_dtype_policy(policy)
    for slope, reference in zip(slopes, expected, strict=True):
        np.testing.assert_allclose(slope, reference, atol=TOLERANCE[dtype] * np.abs(reference).max())
    for state, reference in zip(states, expected_states, strict=True):
        np.testing.assert_allclose(state, reference, rtol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_training_takes_the_same_path(jit_compile):
    """Three steps of SGD on a Glow with dropout: equal weights and states to float32's rounding."""
    images = np.random.RandomState(0).randint(0, 17, (24, 4, 4, 2)).astype("uint8")
    trained = []
    for recompute in (None, "inverse"):
        keras.utils.set_random_seed(0)
        arguments = {"num_levels": 2, "num_steps": 2, "width": 4, "dropout": 0.2, "recompute": recompute}
        flow = Flow(models.glow((4, 4, 2), 17, **arguments), (4, 4, 2), num_values=17)
        flow.compile(keras.optimizers.SGD(0.05), jit_compile=jit_compile or keras.backend.backend() == "jax")
        flow.fit(images, batch_size=8, epochs=1, shuffle=False, verbose=0)
        trained.append(flow)
    for weight, reference in zip(*(flow.variables for flow in trained), strict=True):
        np.testing.assert_allclose(weight.numpy(), reference.numpy(), atol=1e-4, err_msg=weight.path)


def test_it_is_part_of_the_configuration():
    made = layers.Chain.from_config(chain("inverse").get_config())
    assert made.recompute == "inverse"
    check_flow_layer(lambda: layers.Chain([layers.ActNorm(), layers.Conv1x1()], recompute="inverse"), (2, 2, 3))
    with pytest.raises(ValueError, match="use None or 'inverse'"):
        layers.Chain([layers.ActNorm()], recompute="yes")


def test_what_the_backward_pass_needs_does_not_grow_with_depth():
    """Bytes of activations: on JAX as XLA plans them, on TensorFlow by the edges of the gradient's graph."""

    def held(recompute, depth):
        made = [layer for _ in range(depth) for layer in (layers.Coupling(nets.GlowConvNet(8)), layers.ActNorm())]
        made = layers.Chain(made, recompute)
        made.build((None, 8, 8, 4))
        return bytes_held(made, np.zeros((64, 8, 8, 4), "float32"))

    stored, recomputed = (held(recompute, 8) - held(recompute, 4) for recompute in (None, "inverse"))
    assert stored > 0
    assert recomputed < 0.15 * stored


def bytes_held(layer, x):
    def loss(x):
        z, log_det = layer.inverse_and_log_det(x, training=True)
        return ops.sum(ops.square(z)) - ops.sum(log_det)

    if keras.backend.backend() == "jax":
        import jax

        def stateless(values, x):
            with keras.StatelessScope(state_mapping=list(zip(layer.variables, values, strict=True))):
                return loss(x)

        compiled = jax.jit(jax.grad(stateless)).lower([v.value for v in layer.variables], x).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    import tensorflow as tf

    @tf.function(autograph=False)
    def slopes(x):
        with tf.GradientTape() as tape:
            value = tf.identity(loss(x), "loss")
        return tape.gradient(value, layer.trainable_variables)

    graph = slopes.get_concrete_function(x).graph
    forward, found = set(), [graph.get_operation_by_name("loss")]
    while found:
        operation = found.pop()
        if operation not in forward:
            forward.add(operation)
            found += [tensor.op for tensor in operation.inputs]
    outer = [operation for operation in graph.get_operations() if operation not in forward]
    kept = {tensor.ref() for operation in outer for tensor in operation.inputs if tensor.op in forward}
    sizes = [tensor.deref() for tensor in kept]
    return sum(t.dtype.size * t.shape.num_elements() for t in sizes if t.shape.rank and t.shape[0] == len(x))


@keras.saving.register_keras_serializable("tests")
class Penalised(nets.MLP):
    """A network that adds to the loss, as Keras's activity regularizers do."""

    def call(self, x, training=False):
        y = super().call(x, training=training)
        self.add_loss(ops.mean(ops.square(y)))
        self.add_loss(0.1 * ops.sum(ops.square(x)))
        return y


def penalised_chain(recompute):
    keras.utils.set_random_seed(0)
    parts = [layers.Coupling(Penalised([5])), layers.ActNorm(), layers.Coupling(nets.MLP([5]), flip=True)]
    made = layers.Chain([*parts, layers.Coupling(Penalised([5]), flip=True)], recompute)
    made.build((None, 4))
    random = np.random.default_rng(0)
    for weight in made.trainable_weights:
        weight.assign(weight + 0.3 * random.normal(size=weight.shape))
    return made


def test_what_a_network_adds_to_the_loss_is_kept_with_its_gradient():
    x = np.random.default_rng(1).normal(size=(16, 4)).astype("float32")
    losses, weights = [], []
    for recompute in (None, "inverse"):
        flow = Flow(penalised_chain(recompute), (4,), dequantizer=None)
        flow.compile(keras.optimizers.SGD(0.05))
        flow.fit(x, batch_size=8, epochs=2, shuffle=False, verbose=0)
        losses.append(flow.history.history["loss"])
        weights.append([weight.numpy() for weight in flow.trainable_weights])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    pure = flow.evaluate(x, verbose=0)[1]
    assert losses[0][1] > pure + 0.1  # the networks' part of the loss
    for got, want in zip(*weights, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)
