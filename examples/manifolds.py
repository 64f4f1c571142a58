"""Densities on the torus and on the sphere, each by a flow that lives there.

    python examples/manifolds.py --output manifolds.png

The targets of Rezende et al. 2020 (arXiv 2002.02428): three densities of two angles (unimodal, multimodal, correlated),
and a mixture of four von Mises-Fisher densities on the sphere. They are known up to a constant, and the flows are
fitted by KL(flow || target) on samples of the flow, as in the paper. Prints the KL divergence (with the constant by
integration) and the effective sample size of importance sampling from the flow, and draws targets and flows.
"""

import argparse
import math

import keras
import matplotlib
import numpy as np
from keras import ops

from tfflows import Flow, layers, nets, transformers
from tfflows.layers import sphere

matplotlib.use("Agg")
from matplotlib import pyplot as plt

BATCH = 256
PEAKS = [(0.21, 2.85), (1.89, 6.18), (3.77, 1.56)]  # of the multimodal density
CENTRES = [(0.7, 1.5), (-1.0, 1.0), (0.6, 5.0), (-0.7, 4.0)]  # latitude and longitude of the four on the sphere


def unimodal(x):
    return ops.cos(x[:, 0] - 4.18) + ops.cos(x[:, 1] - 5.96)


def multimodal(x):
    peaks = [ops.cos(x[:, 0] - first) + ops.cos(x[:, 1] - second) for first, second in PEAKS]
    return ops.logsumexp(ops.stack(peaks), axis=0)


def correlated(x):
    return ops.cos(x[:, 0] + x[:, 1] - 1.94)


def four_on_the_sphere(x):
    centres = np.array([[math.sin(latitude), longitude] for latitude, longitude in CENTRES], "float32")
    centres = sphere.to_points(ops.convert_to_tensor(centres))
    return ops.logsumexp(10 * ops.matmul(sphere.to_points(x), ops.transpose(centres)), axis=-1)


def torus():
    """Couplings of the two angles, in turn."""
    for index in range(2):
        net = nets.Periodic(nets.MLP((64,), activation="tanh"))
        yield layers.Coupling(net, flip=index % 2 == 1, transformer=transformers.CircularSpline(8))


def cylinders():
    """The paper's recursive flow, with a rotation between every two."""
    for index in range(4):
        yield layers.Rotation(index)
        yield layers.Cylinder(nets.MLP((64,), activation="tanh"), num_bins=8)


# {name: (log-density up to a constant, layers, base, half the lengths of the coordinates' intervals)}
TARGETS = {
    "unimodal": (unimodal, torus, "torus", (math.pi, math.pi)),
    "multimodal": (multimodal, torus, "torus", (math.pi, math.pi)),
    "correlated": (correlated, torus, "torus", (math.pi, math.pi)),
    "sphere": (four_on_the_sphere, cylinders, "sphere", (1.0, math.pi)),
}


class Fit(keras.Model):
    """log q(x) - log p(x) of samples x of the flow q, whose mean is KL(q || p) but for a constant."""

    def __init__(self, flow, log_target):
        super().__init__()
        self.flow, self.log_target = flow, log_target

    def call(self, z):
        x, log_det = self.flow.transform.forward_and_log_det(z)
        return self.flow.base.log_prob(z) - log_det - self.log_target(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(y_pred)


def grid(half_lengths, points=400):
    """[points^2, 2], the middles of cells, and the area of a cell: both coordinates preserve areas."""
    axes = [half * (2 * (np.arange(points) + 0.5) / points - 1) for half in half_lengths]
    area = np.prod([2 * half / points for half in half_lengths])
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2).astype("float32"), area


def fit(name, steps, seed):
    """The flow; KL(flow || target), effective sample size, and both densities on the grid."""
    log_target, make_layers, base, half_lengths = TARGETS[name]
    keras.utils.set_random_seed(seed)
    flow, rng = Flow(layers.Chain(list(make_layers())), (2,), base=base, dequantizer=None), np.random.default_rng(seed)

    def draw(n):
        return (rng.uniform(-1, 1, (n, 2)) * half_lengths).astype("float32")

    model = Fit(flow, log_target)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps), clipnorm=1.0))
    model.fit(draw(BATCH * steps), batch_size=BATCH, verbose=0)

    x, area = grid(half_lengths)
    log_p = ops.convert_to_numpy(log_target(ops.convert_to_tensor(x))).astype("float64")
    log_constant = np.logaddexp.reduce(log_p) + math.log(area)
    log_q = flow.predict(x, batch_size=20_000, verbose=0).astype("float64")
    log_ratio = model.predict(draw(50_000), batch_size=5000, verbose=0).astype("float64")
    weights = np.exp(-log_ratio - log_constant)
    figures = {
        "kl": float(log_ratio.mean() + log_constant),
        "ess": float(weights.mean() ** 2 / np.mean(weights**2)),
        "integral": float(np.exp(log_q).sum() * area),
    }
    return figures, np.exp(log_p - log_constant), np.exp(log_q)


def picture(densities, path):
    figure = plt.figure(figsize=(3.1 * len(densities), 5.6), layout="constrained")
    for column, (name, pair) in enumerate(densities.items()):
        for row, (density, title) in enumerate(zip(pair, ("target", "flow"), strict=True)):
            on_sphere, place = name == "sphere", 1 + column + row * len(densities)
            panel = figure.add_subplot(2, len(densities), place, projection="mollweide" if on_sphere else None)
            side, top = math.isqrt(len(density)), pair[0].max()
            image = density.reshape(side, side)
            ends = np.linspace(-np.pi, np.pi, side + 1)
            if on_sphere:  # rows of equal height, drawn at their latitudes
                latitudes = np.arcsin(np.linspace(-1, 1, side + 1))
                panel.pcolormesh(ends, latitudes, image, cmap="viridis", vmin=0, vmax=top, rasterized=True)
            else:
                panel.pcolormesh(ends, ends, image.T, cmap="viridis", vmin=0, vmax=top, rasterized=True)
                panel.set(aspect="equal")
            panel.set_title(f"{name}, {title}", fontsize=11)
            panel.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS), metavar="TARGET")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="manifolds.png")
    options = parser.parse_args(arguments)
    figures, densities = {}, {}
    for name in options.targets:
        figures[name], *densities[name] = fit(name, options.steps, options.seed)
        kl, ess, integral = (figures[name][key] for key in ("kl", "ess", "integral"))
        print(f"{name}: KL {kl:.4f} nats, effective sample size {ess:.1%}, integral {integral:.5f}", flush=True)
    picture(densities, options.output)
    return figures


if __name__ == "__main__":
    main()
