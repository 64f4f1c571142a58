"""Variational inference: a flow posterior against a Gaussian one, where the true posterior is not Gaussian.

    python examples/variational_inference.py --output posteriors.png

The model is a sum of two exponential decays with unknown rates r = exp(theta), theta ~ N(0, 1), seen through noise:
    y_i = exp(-r_1 t_i) + exp(-r_2 t_i) + noise
Exchanging the two rates changes nothing, so the posterior has two curved modes. In two dimensions the evidence p(y) and
the posterior are also known by integration on a grid: the gap between log p(y) and an ELBO is KL(q || posterior).
"""

import argparse
import math

import keras
import matplotlib
import numpy as np
from keras import ops

from tfflows import Flow, layers, nets

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from tfflows import transformers

TIMES = np.linspace(0.2, 4.0, 8).astype("float32")
NOISE = 0.1
EXTENT = 4.0  # the plane that is integrated over: [-4, 4]^2


def observations():
    rates = np.array([0.4, 1.6])
    noise = NOISE * np.random.default_rng(1).normal(size=len(TIMES))
    return (np.exp(-rates[:, None] * TIMES).sum(axis=0) + noise).astype("float32")


def log_joint(theta, y):
    """log p(y, theta) [B] of theta [B, 2], nats."""
    mean = ops.sum(ops.exp(-ops.exp(theta)[..., None] * TIMES), axis=1)
    log_likelihood = -0.5 * ops.sum(ops.square((y - mean) / NOISE) + math.log(2 * math.pi * NOISE**2), axis=-1)
    return log_likelihood - 0.5 * ops.sum(ops.square(theta) + math.log(2 * math.pi), axis=-1)


def gaussian():
    """Any normal distribution: its covariance A A^T is free."""
    return layers.Chain([layers.ChannelAffine(), layers.Conv1x1(lu=True), layers.ChannelAffine()])


def spline():
    couplings = [
        layers.Coupling(nets.MLP((32, 32)), flip=i % 2 == 1, transformer=transformers.Spline()) for i in range(4)
    ]
    return layers.Chain([*couplings, layers.ChannelAffine()])


def planar():
    return layers.Chain([*(layers.Planar() for _ in range(12)), layers.ChannelAffine()])


POSTERIORS = {"Gaussian": gaussian, "planar flow": planar, "spline flow": spline}


class Posterior(keras.Model):
    """q(theta) from a transform of standard normal noise, trained by the ELBO's gradient through its samples."""

    def __init__(self, transform, y):
        super().__init__()
        self.q, self.y = Flow(transform, (2,), dequantizer=None), y

    def call(self, z):
        """One-sample ELBOs [B] at theta = transform(z)."""
        theta, log_det = self.q.transform.forward_and_log_det(z)
        return log_joint(theta, self.y) - (self.q.base.log_prob(z) - log_det)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return -ops.mean(y_pred)


def fit(transform, y, steps, seed):
    """The posterior after `steps` steps of 256 samples, and its ELBO from 20 000 new samples."""
    keras.utils.set_random_seed(seed)
    model, rng = Posterior(transform, y), np.random.default_rng(seed)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-2, steps), clipnorm=10.0))
    model.fit(rng.normal(size=(256 * steps, 2)).astype("float32"), batch_size=256, verbose=0)
    elbo = model.predict(rng.normal(size=(20_000, 2)).astype("float32"), batch_size=5000, verbose=0)
    return model, float(elbo.mean())


def grid(points=400):
    """[points^2, 2], the middles of cells of the plane, and the area of a cell."""
    width = 2 * EXTENT / points
    axis = -EXTENT + width * (np.arange(points) + 0.5)
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype("float32"), width**2


def picture(densities, path):
    figure, panels = plt.subplots(1, len(densities), figsize=(3.4 * len(densities), 3.7), layout="constrained")
    for panel, (title, density) in zip(panels, densities.items(), strict=True):
        side = math.isqrt(len(density))
        panel.imshow(density.reshape(side, side), origin="lower", extent=[-EXTENT, EXTENT] * 2, cmap="magma")
        panel.set(title=title, xlim=(-2, 2), ylim=(-2, 2), xlabel="log rate 1", ylabel="log rate 2")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="variational_inference.png")
    options = parser.parse_args(arguments)
    y, (theta, area) = observations(), grid()
    joint = ops.convert_to_numpy(log_joint(ops.convert_to_tensor(theta), y)).astype("float64")
    evidence = float(np.logaddexp.reduce(joint) + math.log(area))
    print(f"log evidence, by integration: {evidence:.3f} nats")
    figures, densities = {"evidence": evidence}, {"true posterior": np.exp(joint - evidence)}
    for name, transform in POSTERIORS.items():
        model, figures[name] = fit(transform(), y, options.steps, options.seed)
        densities[name] = np.exp(model.q.predict(theta, batch_size=8000, verbose=0))
        print(f"{name}: ELBO {figures[name]:.3f} nats, KL from the posterior {evidence - figures[name]:.3f}")
    picture(densities, options.output)
    return figures


if __name__ == "__main__":
    main()
