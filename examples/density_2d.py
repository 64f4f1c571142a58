"""Density estimation in two dimensions: two moons, by any family of flows.

    python examples/density_2d.py --family realnvp --output two_moons.png

Draws the density and the data beside samples of the flow, and prints the mean log-likelihood of new data and the
integral of the density over the plane, which is 1.
"""

import argparse

import keras
import matplotlib
import numpy as np
from sklearn.datasets import make_moons

from tfflows import Flow, layers, nets

matplotlib.use("Agg")
from matplotlib import pyplot as plt

EXTENT = 5.0  # the plane that is integrated over: [-5, 5]^2


def mlp():
    return nets.MLP((64, 64), activation="tanh")  # smooth maps, smooth densities


def realnvp():
    for index in range(8):
        yield layers.Coupling(mlp(), flip=index % 2 == 1)


def nice():
    for index in range(8):
        yield layers.Coupling(mlp(), flip=index % 2 == 1, transformer="additive")
    yield layers.DiagonalScale()


def glow():
    for index in range(8):
        yield layers.ActNorm()
        yield layers.Conv1x1(seed=index)
        yield layers.Coupling(mlp(), transformer=layers.Affine("sigmoid"))


def maf():
    for index in range(6):
        yield layers.Permute("reverse")
        yield layers.Autoregressive(layers.MADE((64, 64), activation="tanh", seed=index))


def spline():
    for index in range(4):
        yield layers.Coupling(mlp(), flip=index % 2 == 1, transformer=layers.Spline())


def planar():
    for _ in range(24):  # inverted, so that the density has the closed form and sampling solves an equation
        yield layers.Invert(layers.Planar())
    yield layers.DiagonalScale()


def continuous():
    yield layers.Continuous(mlp(), num_steps=12)


FAMILIES = {f.__name__: f for f in (realnvp, nice, glow, maf, spline, planar, continuous)}


def two_moons(n, seed):
    """[n, 2], of mean about 0 and standard deviation about 1."""
    x, _ = make_moons(n, noise=0.08, random_state=seed)
    return ((x - [0.5, 0.25]) / [0.87, 0.5]).astype("float32")


def train(family, epochs, seed=0):
    """A flow of two moons."""
    keras.utils.set_random_seed(seed)
    flow = Flow(layers.Chain(list(FAMILIES[family]())), (2,), dequantizer=None, seed=seed)
    x = two_moons(10_000, seed)
    steps = epochs * -(-len(x) // 500)
    flow.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, steps), clipnorm=10.0))
    flow.fit(x, batch_size=500, epochs=epochs, verbose=0)
    return flow


def grid_density(flow, points=600):
    """The density at the middle of points x points cells of the plane, and its integral over it."""
    width = 2 * EXTENT / points
    axis = -EXTENT + width * (np.arange(points) + 0.5)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype("float32")
    density = np.exp(flow.predict(grid, batch_size=8000, verbose=0)).reshape(points, points)
    return density, float(density.sum(dtype="float64") * width**2)


def picture(flow, density, path):
    data, samples = two_moons(4000, seed=1), flow.sample(4000, seed=0)
    figure, panels = plt.subplots(1, 3, figsize=(12, 4.2), layout="constrained")
    panels[0].scatter(*data.T, s=1, color="black")
    panels[1].imshow(density, origin="lower", extent=[-EXTENT, EXTENT] * 2, cmap="viridis")
    panels[2].scatter(*samples.T, s=1, color="black")
    for panel, title in zip(panels, ("data", "density of the flow", "samples of the flow"), strict=True):
        panel.set(title=title, xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), aspect="equal", xticks=[], yticks=[])
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=FAMILIES, default="realnvp")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="density_2d.png")
    options = parser.parse_args(arguments)
    flow = train(options.family, options.epochs, options.seed)
    density, integral = grid_density(flow)
    log_likelihood = float(flow.predict(two_moons(10_000, options.seed + 1), batch_size=1000, verbose=0).mean())
    picture(flow, density, options.output)
    print(f"{options.family}: test log-likelihood {log_likelihood:.3f} nats, integral of the density {integral:.5f}")
    return {"log_likelihood": log_likelihood, "integral": integral}


if __name__ == "__main__":
    main()
