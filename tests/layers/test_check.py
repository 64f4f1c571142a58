"""`check_flow_layer` says in one sentence what is wrong with what it is given."""

import logging

import keras
import numpy as np
import pytest
from keras import ops

from tfflows import Flow, check_flow_layer, errors, layers
from tfflows._backend import noise


class Doubled(layers.FlowLayer):
    """x = 2 z, returned as `answer` makes it."""

    @staticmethod
    def answer(value, log_det):
        return value, log_det

    def forward_and_log_det(self, z, condition=None, training=False):
        return self.answer(2 * z, ops.full((z.shape[0],), 4 * np.log(2.0), z.dtype))

    def inverse_and_log_det(self, x, condition=None, training=False):
        return self.answer(x / 2, ops.full(ops.shape(x)[:1], -4 * np.log(2.0), x.dtype))


class Inside(keras.layers.Layer):
    """Not registered, and part of a layer that is."""


@keras.saving.register_keras_serializable("tests")
class Outside(Doubled):
    def __init__(self, inside, **kwargs):
        super().__init__(**kwargs)
        self.inside = inside

    def build(self, input_shape):
        self.inside.build(input_shape)

    def get_config(self):
        return {**super().get_config(), "inside": keras.saving.serialize_keras_object(self.inside)}


def returning(answer):
    return keras.saving.register_keras_serializable("tests")(
        type("Returning", (Doubled,), {"answer": staticmethod(answer)})
    )


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ((layers.ActNorm(), (4,)), errors.InputTypeError, r"got <ActNorm .* takes a function that makes a layer"),
        ((layers.ActNorm, 4), errors.InputTypeError, r"got event_shape=4: give the shape of one x .* \(4,\)"),
        ((keras.layers.Dropout(0.1).get_config, (4,)), errors.InputTypeError, r"got {.* inherits from .*FlowLayer"),
        ((Doubled, (4,)), AssertionError, r"Doubled is not registered with Keras, .*register_keras_serializable"),
        ((lambda: Outside(Inside()), (4,)), AssertionError, r"the saved layer cannot be loaded: .*Inside"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments, error, sentence):
    with pytest.raises(error, match=sentence) as raised:
        check_flow_layer(*arguments)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda value, log_det: value, r"forward_and_log_det returns .*: need the tuple \(x, log_det\)"),
        (lambda value, log_det: (value, log_det, 0), r"returns a tuple of 3: need the tuple \(x, log_det\)"),
        (lambda value, log_det: (ops.convert_to_numpy(value), log_det), r"returns a NumPy array as x: need a tensor"),
        (lambda value, log_det: (value, 1.4), r"returns a value of type float as log_det: need a tensor"),
    ],
)
def test_wrong_results_are_one_sentence(answer, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_flow_layer(returning(answer), (4,))


def check_actnorm():
    check_flow_layer(layers.ActNorm, (2,))


def sample_a_new_flow():
    Flow(layers.Chain([layers.Rescale(4)]), (2, 2, 1), num_values=4).sample(1)


def draw_noise_for_batches_of_all_sizes():
    for size in range(1, 8):
        noise.uniform(noise.seed_keys(np.arange(size)), 2)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a warning of TensorFlow's")
@pytest.mark.parametrize("use", [check_actnorm, sample_a_new_flow, draw_noise_for_batches_of_all_sizes])
def test_many_models_in_a_process_bring_no_warning_of_retracing(use):
    import tensorflow as tf

    records, handler = [], logging.Handler(logging.WARNING)
    handler.emit = records.append
    tf.get_logger().addHandler(handler)
    try:
        for _ in range(7):
            use()
    finally:
        tf.get_logger().removeHandler(handler)
    assert [record.getMessage() for record in records] == []
