"""Puts trained weights into saved_models/, to be part of the repository: small, and measured as they are stored.

python tools/ship.py FOLDER NAME [--full | --mantissa BITS]

FOLDER is an output of `tfflows train --store-as NAME` (or RUNS/small of tools/train_zoo.py); its newest version of NAME
becomes the next version in saved_models/.
Kernels are stored as float16 (--full: as they are), vectors (biases, scales, averages, counters) as they are, all of
them compressed; with --mantissa kernels are rounded to fewer than float16's 10 bits, which compresses better. The
figures of metrics.json are then measured again, on the stored weights. No SavedModel is stored with float16 weights:
`tfflows export NAME DIR` makes it.
"""

import argparse
import json
import shutil
from pathlib import Path

import h5py
import numpy as np

from tfflows import data, zoo
from tfflows.evaluation import evaluate
from tfflows.evaluation.calibration import FILE, NUM_CALIBRATION, calibrate
from tfflows.evaluation.images import save_png
from tfflows.plots import sample_images
from tfflows.zoo import store
from tfflows.zoo.recipe import Recipe

SAVED_MODELS = Path(__file__).resolve().parents[1] / "saved_models"


def halve(source, target, mantissa=10):
    """Copy a Keras weights file with its kernels in half precision, of so many bits of mantissa, all compressed."""

    def copy(name, node):
        if isinstance(node, h5py.Group):
            copied.require_group(name).attrs.update(node.attrs)
            return
        values = node[()]
        if values.ndim > 1:
            fraction, exponent = np.frexp(values)
            values = np.ldexp(np.round(fraction * 2 ** (mantissa + 1)), exponent - mantissa - 1)
            with np.errstate(over="raise"):
                values = values.astype("float16")
        options = {"compression": "gzip", "compression_opts": 9, "shuffle": True} if values.ndim else {}
        copied.create_dataset(name, data=values, **options).attrs.update(node.attrs)

    with h5py.File(source) as original, h5py.File(target, "w") as copied:
        copied.attrs.update(original.attrs)
        original.visititems(copy)


def ship(trained, root=SAVED_MODELS, full=False, path=None, mantissa=10):
    """Publish the version folder `trained` in `root`, and return the new folder; path as in `training.Run`."""
    store.verify(trained)
    recipe = Recipe.from_toml(trained / "recipe.toml")
    metrics = json.loads((trained / "metrics.json").read_text())
    if full:
        return store.publish(root / recipe.name, lambda folder: _copy(trained, folder))
    flow = zoo.build(recipe)
    test = data.arrays(recipe.data, "test", path=path)

    def write(folder):
        halve(trained / "model.weights.h5", folder / "model.weights.h5", mantissa)
        flow.load_weights(folder / "model.weights.h5")
        figures = evaluate(flow, test, recipe.evaluation)
        print(f"{recipe.name}: {metrics['bits_per_dim']:.4f} as trained, {figures['bits_per_dim']:.4f} as stored")
        shutil.copy(trained / "recipe.toml", folder)
        save_png(folder / "samples.png", sample_images(flow), flow.num_values)
        stored = {**metrics, **figures, "data": data.version(recipe.data, path), "storage": "float16"}
        (folder / "metrics.json").write_text(json.dumps(stored, indent=1) + "\n")
        validation = data.arrays(recipe.data, "validation", NUM_CALIBRATION, path)["image"]
        calibrate(flow, validation).save(folder / FILE)

    return store.publish(root / recipe.name, write)


def _copy(trained, folder):
    for path in trained.iterdir():
        if path.name != store.MANIFEST:
            (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / path.name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("--full", action="store_true", help="store what is there, unchanged")
    parser.add_argument("--mantissa", type=int, choices=range(4, 11), default=10, metavar="BITS", help="default 10")
    options = parser.parse_args()
    parent = options.folder / options.name
    print(ship(parent / str(store.versions(parent)[-1]), full=options.full, mantissa=options.mantissa))
