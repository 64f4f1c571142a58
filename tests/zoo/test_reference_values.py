"""What earlier versions wrote keeps its meaning: weights of the zoo and `.keras` files (tools/reference_values.py)."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from tfflows import zoo

FOLDER = Path(__file__).resolve().parents[1] / "reference"
SAVED = sorted(path.stem for path in FOLDER.glob("*.keras"))


@pytest.fixture(scope="module")
def entries():
    with np.load(FOLDER / "entries.npz", allow_pickle=False) as values:
        return dict(values)


def test_every_trained_entry_has_reference_values(entries):
    assert {name.partition(".")[0] for name in entries} == set(zoo.list_models(trained=True)) - {"tiny"}


# On JAX, where each takes long to compile, those of the digits stand for the others, and of these all but maf_conv's.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.backend_free] * ("_digits" not in name or "conv" in name))
        for name in zoo.list_models(trained=True)
    ],
)
def test_densities_and_samples_of_trained_entries_are_unchanged(entries, name):
    flow, images, samples = zoo.load(name), entries[f"{name}.images"], entries[f"{name}.samples"]
    labels = None if flow.num_classes is None else np.arange(len(images)) % flow.num_classes
    assert flow.count_params() == entries[f"{name}.num_weights"]
    log_prob = ops.convert_to_numpy(flow.log_prob(images, labels))
    np.testing.assert_allclose(
        log_prob, entries[f"{name}.log_prob"], rtol=1e-6 if keras.backend.backend() == "tensorflow" else 1e-4
    )
    if keras.backend.backend() == "tensorflow":  # on another processor a value next to an integer may round to it
        assert np.mean(flow.sample(len(samples), seed=0, condition=labels) != samples) < 1e-3


# Keras reads the files in one way on both backends: one stands for the others on JAX.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.backend_free] * (name != "glow_conditional")) for name in SAVED]
)
def test_keras_files_of_version_0_1_load(name):
    flow = keras.saving.load_model(FOLDER / f"{name}.keras", safe_mode=True)
    with np.load(FOLDER / "saved.npz", allow_pickle=False) as values:
        x, expected = values[f"{name}.x"], values[f"{name}.log_prob"]
    labels = None if flow.num_classes is None else np.arange(len(x)) % flow.num_classes
    np.testing.assert_allclose(ops.convert_to_numpy(flow.log_prob(x, labels)), expected, rtol=1e-5)
    flow.fit(x if labels is None else {"image": x, "label": labels}, epochs=1, batch_size=4, verbose=0)
