"""`.keras` files load in a new process, by an import of Keras and of tfflows alone."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tfflows import Flow, layers, models
from tfflows._backend import tfb

pytestmark = pytest.mark.backend_free
ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "tests" / "reference"
IMAGES = np.random.RandomState(0).randint(0, 17, (8, 4, 4, 1)).astype("uint8")
LOAD = """
import {imports}
import sys
import numpy as np

@keras.saving.register_keras_serializable("mine")
class Double(tfflows.layers.BijectorLayer):
    def bijector(self):
        from tfflows._backend import tfb
        return tfb.Scale(2.0)

flows = [keras.saving.load_model(path) for path in sys.argv[1:]]
print(*flows[0].bits_per_dim(np.random.RandomState(0).randint(0, 17, (8, 4, 4, 1)).astype("uint8")))
"""


@keras.saving.register_keras_serializable("mine")
class Double(layers.BijectorLayer):
    def bijector(self):
        return tfb.Scale(2.0)


@pytest.mark.parametrize("imports", ["keras, tfflows", "tfflows, keras"])
def test_every_family_loads_in_a_new_process(tmp_path, imports):
    """Those of version 0.1, one with a layer of the user's own, and a checkpoint that Keras's callback wrote."""
    keras.utils.set_random_seed(0)
    own = Flow(layers.Chain([*models.nice((4, 4, 1), 17, hidden=(8,)).layers, Double()]), (4, 4, 1), 17)
    own.compile("adam")
    own.fit(IMAGES, verbose=0, callbacks=[keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")])
    paths = [tmp_path / "1.keras", *(sorted(REFERENCE.glob("*.keras")) if imports.startswith("keras") else ())]
    command = [sys.executable, "-c", LOAD.format(imports=imports), *map(str, paths)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    np.testing.assert_allclose(np.float64(result.stdout.split()), own.bits_per_dim(IMAGES), rtol=1e-5)


def test_the_commands_help_waits_for_no_backend():
    environment = {**os.environ, "KERAS_BACKEND": "none"}  # with which Keras cannot be imported
    start = os.times()
    result = subprocess.run(
        [sys.executable, "-m", "tfflows", "--help"], cwd=ROOT, capture_output=True, text=True, env=environment
    )
    assert result.returncode == 0, result.stderr
    end = os.times()
    assert end.children_user + end.children_system - start.children_user - start.children_system < 1  # seconds
