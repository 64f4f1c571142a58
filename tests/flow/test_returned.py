"""One rule for what the methods of a flow return: tensors for tensors, NumPy arrays for anything else."""

import keras
import numpy as np
import pytest
from keras import ops

from tfflows import Flow, models

IMAGES = np.random.RandomState(0).randint(0, 17, (3, 4, 4, 1)).astype("uint8")
Z = np.random.RandomState(0).normal(size=(3, 16)).astype("float32")
METHODS = {
    "log_prob": ((IMAGES, 1), (3,)),
    "bits_per_dim": ((IMAGES, 1), (3,)),
    "encode": ((IMAGES, 1), (3, 16)),
    "decode": ((Z, 1), (3, 4, 4, 1)),
    "interpolate": ((IMAGES, IMAGES[::-1].copy(), 5, 1), (3, 5, 4, 4, 1)),
    "class_posterior": ((IMAGES,), (3, 3)),
}


@pytest.fixture(scope="module")
def flow():
    keras.utils.set_random_seed(0)
    return Flow(models.nice((4, 4, 1), 17, 3, hidden=(8,)), (4, 4, 1), 17, num_classes=3)


@pytest.mark.parametrize("method", METHODS)
def test_arrays_give_arrays_and_tensors_give_tensors(flow, method):
    arguments, shape = METHODS[method]
    array = getattr(flow, method)(*arguments)
    tensor = getattr(flow, method)(*(ops.convert_to_tensor(a) if isinstance(a, np.ndarray) else a for a in arguments))
    assert isinstance(array, np.ndarray)
    assert ops.is_tensor(tensor)
    assert array.shape == tuple(tensor.shape) == shape
    np.testing.assert_allclose(ops.convert_to_numpy(tensor), array, rtol=1e-6)


def test_samples_are_arrays(flow):
    assert isinstance(flow.sample(3, condition=ops.convert_to_tensor(1)), np.ndarray)


def test_a_dict_counts_by_its_image(flow):
    labels = np.full(3, 1)
    assert isinstance(flow.log_prob({"image": IMAGES, "label": labels}), np.ndarray)
    assert ops.is_tensor(flow.log_prob({"image": ops.convert_to_tensor(IMAGES), "label": labels}))
