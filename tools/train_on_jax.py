"""Trains small flows on JAX for the test that TensorFlow reads them: writes tests/jax_trained.

KERAS_BACKEND=jax python tools/train_on_jax.py
"""

import json
from pathlib import Path

import keras
import numpy as np

from tfflows import Flow, models
from tfflows.data.digits import load_digits

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "jax_trained"
FLOWS = {
    "glow": (models.glow, {"num_levels": 2, "num_steps": 1, "width": 4}),
    "realnvp": (models.realnvp, {"num_levels": 1, "num_blocks": 1, "filters": 4}),
    "maf": (models.maf, {"num_layers": 2, "hidden": (16,)}),
}


def main():
    if keras.backend.backend() != "jax":
        raise SystemExit("set KERAS_BACKEND=jax: these are the weights that JAX trained")
    images = load_digits("train")["image"][:256]
    FOLDER.mkdir(exist_ok=True)
    log_prob = {}
    for name, (model, arguments) in FLOWS.items():
        keras.utils.set_random_seed(0)
        flow = Flow(model((8, 8, 1), 17, **arguments), (8, 8, 1), num_values=17)
        flow.compile(keras.optimizers.Adam(1e-2))
        flow.fit(images, batch_size=32, epochs=3, verbose=0)
        flow.save(FOLDER / f"{name}.keras")
        flow.save_weights(FOLDER / f"{name}.weights.h5")
        log_prob[name] = np.asarray(flow.log_prob(load_digits("test")["image"][:16])).tolist()
    (FOLDER / "log_prob.json").write_text(json.dumps(log_prob, indent=1) + "\n")


if __name__ == "__main__":
    main()
