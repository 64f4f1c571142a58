"""`.keras` files load in a new process, by an import of Keras and of tfflows alone."""

import os
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from tfflows import Flow, layers, models
from tfflows._backend import tfb

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "tests" / "reference"
IMAGES = np.random.RandomState(0).randint(0, 17, (8, 4, 4, 1)).astype("uint8")
CUSTOM = """
import {imports}

@keras.saving.register_keras_serializable("mine")
class Double(tfflows.layers.BijectorLayer):
    def bijector(self):
        from tfflows._backend import tfb
        return tfb.Scale(2.0)

for path in {paths!r}:
    flow = keras.saving.load_model(path)
    print(path, *flow.bits_per_dim({images}.astype("uint8")) if flow.dequantizer and not flow.num_classes else "")
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
    paths = [str(tmp_path / "1.keras")]
    if imports.startswith("keras"):
        paths += map(str, sorted(REFERENCE.glob("*.keras")))
    images = "__import__('numpy').random.RandomState(0).randint(0, 17, (8, 4, 4, 1))"
    code = CUSTOM.format(imports=imports, paths=paths, images=images)
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()}
    assert list(lines) == paths
    np.testing.assert_allclose(np.float64(lines[paths[0]]), own.bits_per_dim(IMAGES), rtol=1e-5)


def test_the_commands_help_waits_for_no_backend():
    environment = {**os.environ, "KERAS_BACKEND": "none"}  # with which Keras cannot be imported
    start = time.process_time()
    result = subprocess.run(
        [sys.executable, "-m", "tfflows", "--help"], cwd=ROOT, capture_output=True, text=True, env=environment
    )
    assert result.returncode == 0, result.stderr
    assert time.process_time() - start < 1
