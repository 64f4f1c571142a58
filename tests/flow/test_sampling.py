"""Samples: keys of 64 bits to the end, and no atoms."""

import keras
import numpy as np
import pytest
from keras import ops

from tfflows import Flow, layers
from tfflows._backend import noise

SEED = np.array([0, 1], "int32" if keras.backend.backend() == "tensorflow" else "uint32")  # a seed of TFP


def identity(size):
    return Flow(layers.Chain([layers.Permute("reverse")]), (size,), dequantizer=None)


def test_400_000_samples_are_all_different_and_so_are_those_of_two_seeds():
    flow = identity(2)
    first, second = (flow.sample(400_000, seed=seed) for seed in (1, 2))
    both = np.concatenate([first, second]).view("complex64")
    assert len(np.unique(both)) == 800_000


def test_seeds_of_a_served_model_keep_their_samples():
    """`sample_from_seeds`, the signature of SavedModels, is a function of an int32 seed."""
    flow = identity(2)
    x = flow.sample_from_seeds(ops.convert_to_tensor(np.array([7, 7, 8], "int32")), ops.ones((3,)))
    uniforms = noise.uniform(noise.seed_keys(np.array([7, 7, 8])), 2)
    expected = ops.convert_to_numpy(flow.base.sample(uniforms, ops.ones((3,))))[:, ::-1]
    np.testing.assert_allclose(ops.convert_to_numpy(x), expected, rtol=1e-6)


def test_the_distributions_samples_have_no_atom():
    """2^23 numbers below 1 in steps of 2^-23 hold a zero in most draws, which would be -12.95 or so."""
    x = ops.convert_to_numpy(identity(64).as_distribution().sample(2**17, seed=SEED))
    assert np.abs(x).max() < 5.5
    assert abs(x.mean()) < 4 / np.sqrt(x.size)
    assert abs(x.std() - 1) < 4 / np.sqrt(2 * x.size)
    assert len(np.unique(x[:, :2].copy().view("complex64"))) == len(x)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="TensorFlow's graphs take any size")
def test_few_sizes_are_compiled_on_jax():
    import jax

    flow, compiled = identity(2), []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, *_, **__: compiled.append(name) if name.endswith("backend_compile_duration") else None
    )
    expected = flow.sample(8, seed=0)
    flow.sample(7, seed=0)
    number = len(compiled)
    for n in (5, 6, 7, 8):
        np.testing.assert_array_equal(flow.sample(n, seed=0), expected[:n])
    assert len(compiled) == number
