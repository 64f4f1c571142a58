"""Trains the MNIST and Fashion-MNIST entries of the zoo on one accelerator, in pieces of limited time.

python tools/train_zoo.py arrays FOLDER
    where TensorFlow Datasets is: writes FOLDER/mnist.npz and FOLDER/fashion_mnist.npz, 42 MB
KERAS_BACKEND=jax python tools/train_zoo.py train FOLDER RUNS [--minutes 60] [--only NAME] [--epochs N] [--limit N]
    where the accelerator is (TensorFlow and a network are not needed): trains the models of PLAN one after the other,
    each from where it was stopped, until the minutes are over; run it again until it says that all are trained

For batch queues and notebooks with a time limit, such as Slurm and Colab. RUNS/<name>/.training keeps the checkpoints
between two runs, and RUNS/small what was trained, with float16 weights. `tools/ship.py RUNS/small NAME` then brings it
into saved_models/, measured again on the data set of the recipe; its recipe.toml becomes the entry's.
"""

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
from ship import ship

from tfflows import data, zoo
from tfflows.training import Run
from tfflows.training import train as train_run
from tfflows.zoo import store
from tfflows.zoo.recipe import FrozenDict

CONV = {"batch_size": 128}
MLP = {"batch_size": 200, "learning_rate": 1e-3}
# What is trained, in this order: estimated minutes, changes of the recipe's model, changes of its training. The minutes
# are a plan that was made without an accelerator: the first epochs will tell whether it holds.
PLAN = {
    "glow_mnist_spline": (8, {"num_steps": 12, "width": 96}, {"epochs": 60, **CONV}),
    "glow_fashion_mnist_spline": (7, {"num_steps": 12, "width": 96}, {"epochs": 50, **CONV}),
    "glow_mnist_mixture": (8, {"num_steps": 12, "width": 96}, {"epochs": 60, **CONV}),
    "maf_conv_mnist": (8, {"width": 64, "num_blocks": 6, "dropout": 0.1}, {"epochs": 60, **CONV}),
    "maf_conv_fashion_mnist": (8, {"width": 64, "num_blocks": 6, "dropout": 0.1}, {"epochs": 60, **CONV}),
    "glow_mnist": (6, {"num_steps": 16, "width": 96}, {"epochs": 60, **CONV}),
    "realnvp_mnist_vardeq": (5, {"num_blocks": 4, "filters": 32}, {"epochs": 60, **CONV}),
    "realnvp_mnist": (4, {"num_blocks": 4, "filters": 32}, {"epochs": 60, **CONV}),
    "glow_fashion_mnist": (5, {"num_steps": 16, "width": 96}, {"epochs": 50, **CONV}),
    "realnvp_fashion_mnist": (3, {"num_blocks": 4, "filters": 32}, {"epochs": 40, **CONV}),
    "nice_mnist": (3, {}, {"epochs": 300, **MLP}),
    "maf_mnist": (1, {}, {"epochs": 16, **MLP}),
    "maf_mnist_conditional": (1, {}, {"epochs": 16, **MLP}),
    "maf_mnist_mog": (1, {}, {"epochs": 12, **MLP}),
    "maf_fashion_mnist": (1, {}, {"epochs": 20, **MLP}),
}


def planned(name):
    """The recipe of an entry as PLAN has it."""
    recipe, (_, arguments, train) = zoo.recipe(name), PLAN[name]
    model = dataclasses.replace(recipe.model, arguments=FrozenDict({**recipe.model.arguments, **arguments}))
    return dataclasses.replace(recipe, model=model, train=dataclasses.replace(recipe.train, **train))


def write_arrays(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for dataset in ("mnist", "fashion_mnist"):
        described = dataclasses.replace(zoo.recipe(f"nice_{dataset}").data, flip=False, num_classes=10)
        arrays = {}
        for split in ("train", "validation", "test"):
            images = data.arrays(described, split)
            arrays.update({split: images["image"], f"{split}_label": images["label"]})
        np.savez_compressed(folder / f"{dataset}.npz", **arrays)


def train(folder, runs, minutes, only=None, epochs=None, limit=None):
    """Go on with the plan; returns the names that are left to do."""
    end = time.monotonic() + 60 * minutes
    left = [name for name in PLAN if only in (None, name) and not store.versions(runs / name)]
    while left and time.monotonic() < end:
        recipe = planned(left[0])
        if epochs:
            recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, epochs=epochs))
        path, rest = folder / f"{recipe.data.dataset}.npz", (end - time.monotonic()) / 60
        run = Run(recipe, path=path, limit=limit, name=recipe.name)
        trained = train_run(run, output=runs, resume=True, minutes=rest)
        if trained is None:
            break
        ship(trained, runs / "small", path=str(path))
        del left[0]
    return left


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog=__doc__.partition("\n\n")[2],
        formatter_class=argparse.RawTextHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("arrays").add_argument("folder", type=Path)
    sub = commands.add_parser("train")
    sub.add_argument("folder", type=Path)
    sub.add_argument("runs", type=Path)
    sub.add_argument("--minutes", type=float, default=60)
    sub.add_argument("--only", choices=PLAN)
    sub.add_argument("--epochs", type=int, help="in place of the plan's, to try it")
    sub.add_argument("--limit", type=int, help="of images, to try it")
    options = vars(parser.parse_args())
    if options.pop("command") == "arrays":
        write_arrays(**options)
    else:
        left = train(**options)
        to_do = ", ".join(f"{name} ({PLAN[name][0]} min)" for name in left)
        print(f"to do, as planned: {to_do}: run it again" if left else "all are trained")
