"""Interpolation between images along straight lines in the latent space of a trained flow of the zoo.

    python examples/interpolation.py --model realnvp_digits --output paths.png

Draws paths between test digits, a cross-fade of the pixels below each, and prints the bits/dim of the images in the
middle of both: a path through z stays among images that the model finds likely, a cross-fade does not.
"""

import argparse

import matplotlib
import numpy as np

from tfflows import zoo
from tfflows.data.digits import load_digits

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def pairs(num, seed):
    """Two images [num, 8, 8, 1] each, of different digits, from the test set."""
    test, rng = load_digits("test"), np.random.default_rng(seed)
    while True:
        first, second = rng.choice(len(test["image"]), (2, num), replace=False)
        if np.all(test["label"][first] != test["label"][second]):
            return test["image"][first], test["image"][second]


def cross_fade(a, b, num):
    """[B, num, 8, 8, 1], rounded to integers."""
    weights = np.linspace(0, 1, num)[:, None, None, None]
    return np.rint((1 - weights) * a[:, None] + weights * b[:, None]).astype("uint8")


def picture(paths, fades, num_values, path):
    rows = np.stack([paths, fades], axis=1).reshape(-1, *paths.shape[1:])
    figure, panels = plt.subplots(*rows.shape[:2], figsize=(rows.shape[1], rows.shape[0]))
    for index, (row, images) in enumerate(zip(panels, rows, strict=True)):
        for panel, image in zip(row, images, strict=True):
            panel.imshow(image[..., 0], cmap="bone" if index % 2 else "gray", vmin=0, vmax=num_values - 1)
            panel.set(xticks=[], yticks=[])
        row[0].set_ylabel("cross-fade" if index % 2 else "flow")
    figure.subplots_adjust(left=0.03, right=0.99, bottom=0.01, top=0.99, wspace=0.08, hspace=0.08)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="realnvp_digits", help="a model of 8x8 digits that has weights")
    parser.add_argument("--num", type=int, default=11, help="images on a path, an odd number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="interpolation.png")
    options = parser.parse_args(arguments)
    flow = zoo.load(options.model)
    a, b = pairs(100, options.seed)
    paths, fades = flow.interpolate(a, b, options.num), cross_fade(a, b, options.num)
    picture(paths[:4], fades[:4], flow.num_values, options.output)
    middle = options.num // 2
    figures = {
        "digits": float(flow.bits_per_dim(np.concatenate([a, b])).mean()),
        "path": float(flow.bits_per_dim(paths[:, middle]).mean()),
        "cross-fade": float(flow.bits_per_dim(fades[:, middle]).mean()),
        "end_error": int(np.abs(paths[:, [0, -1]].astype(int) - np.stack([a, b], axis=1)).max()),
    }
    print(
        f"bits/dim of 200 digits {figures['digits']:.3f}, of the middles of 100 paths {figures['path']:.3f}, "
        f"of 100 cross-fades {figures['cross-fade']:.3f}; largest error at the ends: {figures['end_error']} grey values"
    )
    return figures


if __name__ == "__main__":
    main()
