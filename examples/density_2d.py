"""Density estimation in two dimensions: two moons, by every family of flows.

    python examples/density_2d.py --output two_moons.png

Draws each flow's density above its samples, and prints the mean log-likelihood of new data and the integral of the
density over the plane, which is 1.
"""

import argparse

import keras
import matplotlib
import numpy as np
from sklearn.datasets import make_moons

from tfflows import Flow, layers, nets

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from tfflows import plots, transformers

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
        yield layers.Coupling(mlp(), transformer=transformers.Affine("sigmoid"))


def maf():
    for index in range(6):
        yield layers.Permute("reverse")
        yield layers.Autoregressive(nets.MADE((64, 64), activation="tanh", seed=index))


def maf_mog():
    yield layers.Autoregressive(nets.MADE((64, 64), activation="tanh"), transformers.MixtureOfGaussians(5))
    yield from maf()


def iaf():  # density and training take a pass of the network for each dimension, sampling takes one in all
    for index in range(6):
        yield layers.Permute("reverse")
        yield layers.Invert(layers.Autoregressive(nets.MADE((64, 64), activation="tanh", seed=index)))


def spline():
    for index in range(4):
        yield layers.Coupling(mlp(), flip=index % 2 == 1, transformer=transformers.Spline())


def planar():
    for _ in range(24):  # inverted: the density has the closed form, and sampling solves an equation
        yield layers.Invert(layers.Planar())
    yield layers.DiagonalScale()


def continuous():
    yield layers.Continuous(mlp(), num_steps=12)


FAMILIES = {f.__name__: f for f in (realnvp, nice, glow, maf, maf_mog, iaf, spline, planar, continuous)}


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


def integrate(flow, points=600):
    """The integral of the density over the plane, by the middles of points x points cells."""
    width = 2 * EXTENT / points
    axis = -EXTENT + width * (np.arange(points) + 0.5)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype("float32")
    density = np.exp(flow.predict(grid, batch_size=8000, verbose=0))
    return float(density.sum(dtype="float64") * width**2)


def log_likelihood(flow, seed):
    """The mean over 10 000 new points, nats."""
    return float(flow.predict(two_moons(10_000, seed), batch_size=1000, verbose=0).mean())


def picture(flows, path):
    """A column for the data and one for each flow: density above, samples below."""
    columns = 1 + len(flows)
    figure, panels = plt.subplots(2, columns, figsize=(2.1 * columns, 4.5), layout="constrained")
    data = two_moons(4000, seed=1)
    panels[0, 0].hist2d(*data.T, bins=80, range=[[-2.4, 2.4]] * 2, cmap="viridis")
    panels[0, 0].set_title("data")
    panels[1, 0].scatter(*data.T, s=0.5, color="black")
    for column, (family, flow) in enumerate(flows.items(), start=1):
        plots.density_2d(flow, (-2.4, 2.4, -2.4, 2.4), axes=panels[0, column])
        panels[0, column].set_title(family)
        panels[1, column].scatter(*flow.sample(4000, seed=0).T, s=0.5, color="black")
    for panel in panels.flat:
        panel.set(xlim=(-2.4, 2.4), ylim=(-2.4, 2.4), aspect="equal", xticks=[], yticks=[])
    figure.savefig(path, dpi=90)
    plt.close(figure)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES), metavar="FAMILY")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="density_2d.png")
    options = parser.parse_args(arguments)
    flows, figures = {}, {}
    for family in options.families:
        flows[family] = flow = train(family, options.epochs, options.seed)
        integral = integrate(flow)
        figures[family] = {"log_likelihood": log_likelihood(flow, options.seed + 1), "integral": integral}
        print(
            f"{family}: test log-likelihood {figures[family]['log_likelihood']:.3f} nats, "
            f"integral of the density {integral:.5f}"
        )
    picture(flows, options.output)
    return figures


if __name__ == "__main__":
    main()
