"""Filling in the missing half of a digit: a flow of the lower half, conditional on the upper half.

    python examples/inpainting.py --output fills.png

Draws test digits, their upper halves and several lower halves for each, and prints the bits/dim of the true lower
halves with and without the upper half: what the condition tells.
"""

import argparse

import keras
import matplotlib
import numpy as np

from tfflows import Flow, layers, nets
from tfflows.data.digits import load_digits

matplotlib.use("Agg")
from matplotlib import pyplot as plt

NUM_VALUES, HALF = 17, (4, 8, 1)
SIZE = 32  # pixels of a half


def half_flow(condition_size):
    """A RealNVP of the 32 pixels of the lower half; every network also sees the upper half."""
    couplings = [
        layers.Coupling(
            nets.MLP((128, 128), dropout=0.2), mask="odd_even", flip=i % 2 == 1, condition_size=condition_size or 0
        )
        for i in range(6)
    ]
    transform = layers.Chain([*couplings, layers.Flatten(), layers.Logit(NUM_VALUES)])
    return Flow(transform, HALF, num_values=NUM_VALUES, condition_size=condition_size)


def halves(split, conditional=True):
    """The data of `fit`: lower halves as integers and, for the conditional flow, upper halves in [0, 1]."""
    image = load_digits(split)["image"]
    upper = image[:, :4].reshape(-1, SIZE).astype("float32") / (NUM_VALUES - 1)
    return {"image": image[:, 4:], "condition": upper} if conditional else {"image": image[:, 4:]}


def fit(conditional, epochs, seed):
    """A trained flow, of the epoch with the best validation bits/dim, and its test bits/dim."""
    keras.utils.set_random_seed(seed)
    flow = half_flow(SIZE if conditional else None)
    flow.compile(keras.optimizers.Adam(2e-3, clipnorm=100.0))
    best = keras.callbacks.EarlyStopping("val_loss", mode="min", patience=10, restore_best_weights=True)
    data = {"x": halves("train", conditional), "validation_data": halves("validation", conditional)}
    flow.fit(**data, batch_size=128, epochs=epochs, callbacks=[best], verbose=0)
    return flow, float(flow.bits_per_dim(halves("test", conditional)).mean())


def picture(flow, path, num_fills=8):
    test = load_digits("test")
    chosen = [int(np.flatnonzero(test["label"] == label)[1]) for label in range(10)]
    data = {key: value[chosen] for key, value in halves("test").items()}
    blank = np.full((len(chosen), *HALF), -1)  # drawn in colour
    upper = test["image"][chosen, :4]
    fills = [flow.sample(len(chosen), temperature=0.8, seed=k, condition=data["condition"]) for k in range(num_fills)]
    columns = [np.concatenate([upper, lower], axis=1) for lower in (data["image"], blank, *fills)]
    figure, panels = plt.subplots(len(chosen), len(columns), figsize=(len(columns), len(chosen)))
    colours = plt.get_cmap("gray").with_extremes(under="steelblue")
    for column, images in enumerate(columns):
        for row, image in enumerate(images):
            panels[row, column].imshow(image[..., 0], cmap=colours, vmin=0, vmax=NUM_VALUES - 1)
            panels[row, column].axis("off")
    for column, title in enumerate(("digit", "seen", "fills")):
        panels[0, column].set_title(title)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.96, wspace=0.08, hspace=0.08)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=100, help="at most: training stops when validation gets worse")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="inpainting.png")
    options = parser.parse_args(arguments)
    _, unconditional = fit(False, options.epochs, options.seed)
    flow, conditional = fit(True, options.epochs, options.seed)
    picture(flow, options.output)
    print(f"lower halves of test digits: {unconditional:.3f} bits/dim alone, {conditional:.3f} given the upper half")
    return {"unconditional": unconditional, "conditional": conditional}


if __name__ == "__main__":
    main()
