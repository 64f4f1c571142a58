"""Ships weights again with the statistics of batch normalisation recomputed for them (`Flow.update_statistics`).

python tools/update_statistics.py NAME [NAME ...]

The newest version of NAME in saved_models/ becomes the next one there: the same weights, with statistics over 10,000
training images as the recipe prepares them (flips included), and with figures that are measured again. Where validation
bits/dim are not lower afterwards, nothing is written. Then run tools/measure_model.py and tools/model_cards.py.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from ship import SAVED_MODELS, halve

from tfflows import data, zoo
from tfflows.evaluation import evaluate
from tfflows.evaluation.calibration import FILE, NUM_CALIBRATION, calibrate
from tfflows.evaluation.images import save_png
from tfflows.export import export
from tfflows.flow import batches
from tfflows.plots import sample_images
from tfflows.zoo import store

NUM_IMAGES, BATCH = 10_000, 250


def update(name):
    """Returns the folder of the new version, or None where the validation bits/dim are not lower."""
    folder = zoo.artefact(name, packaged=True)
    flow, recipe = zoo.load(name, weights="packaged"), zoo.Recipe.from_toml(folder / "recipe.toml")
    metrics = json.loads((folder / "metrics.json").read_text())
    validation = data.batches(recipe.data, "validation", BATCH)
    source, steps = data.training_batches(recipe.data, BATCH, metrics["seed"])
    images = batches.choose(source, min(NUM_IMAGES, steps * BATCH))

    before = flow.evaluate(validation, verbose=0, return_dict=True)["bits_per_dim"]
    flow.update_statistics(images, NUM_IMAGES)
    after = flow.evaluate(validation, verbose=0, return_dict=True)["bits_per_dim"]
    print(f"{name}: validation {before:.4f} -> {after:.4f} bits/dim", flush=True)
    if after >= before:
        return None
    test = data.arrays(recipe.data, "test")

    def write(target):
        with tempfile.TemporaryDirectory() as scratch:
            flow.save_weights(Path(scratch) / "model.weights.h5")
            if "storage" in metrics:
                halve(Path(scratch) / "model.weights.h5", target / "model.weights.h5")
            else:
                shutil.copy(Path(scratch) / "model.weights.h5", target)
        shutil.copy(folder / "recipe.toml", target)
        save_png(target / "samples.png", sample_images(flow), flow.num_values)
        figures = evaluate(flow, test, recipe.evaluation)
        print(f"{name}: test {metrics['bits_per_dim']:.4f} -> {figures['bits_per_dim']:.4f} bits/dim", flush=True)
        count = min(NUM_IMAGES, steps * BATCH)
        changed = {"validation_bits_per_dim": after, "statistics": f"recomputed over {count:,} training images"}
        (target / "metrics.json").write_text(json.dumps({**metrics, **figures, **changed}, indent=1) + "\n")
        calibration = calibrate(flow, data.arrays(recipe.data, "validation", NUM_CALIBRATION)["image"])
        calibration.save(target / FILE)
        if "storage" not in metrics:
            export(flow, target, calibration)

    return store.publish(SAVED_MODELS / name, write)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for model in sys.argv[1:]:
        print(update(model))
