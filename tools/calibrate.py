"""Adds to models in saved_models/ the anomaly scores of their validation images (calibration.json).

python tools/calibrate.py [NAME ...]

`tfflows train` writes that file itself; this is for weights that were trained before it did. Of the newest version of
each model (default: all) the file is added to the folder and to its manifest, and a SavedModel there is written again
so that it serves p-values. Weights are left as they are.
"""

import json
import sys

from ship import SAVED_MODELS

from tfflows import data, zoo
from tfflows.evaluation.calibration import FILE, NUM_CALIBRATION, calibrate
from tfflows.export import export, verdict
from tfflows.zoo import store


def add(name):
    folder = zoo.artefact(name, packaged=True)
    flow, recipe = zoo.load(name, weights="packaged"), zoo.Recipe.from_toml(folder / "recipe.toml")
    calibration = calibrate(flow, data.arrays(recipe.data, "validation", NUM_CALIBRATION)["image"])
    calibration.save(folder / FILE)
    if (folder / "saved_model.pb").is_file() and verdict.in_graph(calibration):
        export(flow, folder, calibration)
    files = sorted({*store.manifest(folder), FILE})
    sums = {file: store.sha256(folder / file) for file in files}
    (folder / store.MANIFEST).write_text(json.dumps({"sha256": sums}, indent=1) + "\n")
    store.verify(folder)
    return folder, len(calibration.held_out)


if __name__ == "__main__":
    for model in sys.argv[1:] or sorted(path.name for path in SAVED_MODELS.iterdir() if store.versions(path)):
        print(*add(model), flush=True)
