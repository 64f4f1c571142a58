"""A variational autoencoder of digits with five priors: standard normal, mixture, VampPrior, and the first and last
of these under a RealNVP.

    python examples/vae_prior.py --output vae_samples.png

Encoder, decoder and training are the same for all; only p(z) differs. The decoder is linear, as in factor analysis, so
that what is not Gaussian in the digits has to be in the prior. A pixel of scikit-learn's digits counts the dark ones
among 16 finer pixels: the likelihood is binomial. Prints the ELBO of the 360 test digits, the mean over seeds, and
draws samples of each, and the VampPrior's pseudo-inputs.
"""

import argparse
import math

import keras
import matplotlib
import numpy as np
from keras import ops

from tfflows import Flow, layers, nets
from tfflows.data.digits import load_digits
from tfflows.flow.base import BaseDistribution

matplotlib.use("Agg")
from matplotlib import pyplot as plt

LATENT, COUNTS, PSEUDO_INPUTS = 32, 16, 100
LOG_CHOICES = np.array([math.log(math.comb(COUNTS, k)) for k in range(COUNTS + 1)], "float32")


class VampPrior(BaseDistribution):
    """p(z) = 1/K sum_k q(z | u_k): a mixture of what the encoder makes of K learned images, the pseudo-inputs.

    Reference: Tomczak and Welling 2018, "VAE with a VampPrior", arXiv 1705.07120, equation 9.
    """

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def build(self, latent_shape):
        super().build(latent_shape)
        images = load_digits("train")["image"].reshape(-1, 64)
        chosen = images[np.random.default_rng(0).permutation(len(images))[:PSEUDO_INPUTS]]
        logits = np.log((chosen + 0.5) / (COUNTS + 0.5 - chosen))
        self.logits = self.add_weight(shape=logits.shape, initializer=lambda shape, dtype: logits.astype(dtype))

    @property
    def num_uniforms(self):
        return self.size + 1

    def pseudo_inputs(self):
        """[K, 64], in the units of the images."""
        return COUNTS * ops.sigmoid(self.logits)

    def components(self):
        """Means and log-scales, both [K, LATENT]."""
        return ops.split(self.encoder(self.pseudo_inputs() / COUNTS), 2, axis=-1)

    def log_prob(self, z):
        mean, log_scale = self.components()
        standard = (z[:, None] - mean) * ops.exp(-log_scale)  # [B, K, LATENT]
        log_p = ops.sum(-0.5 * ops.square(standard) - log_scale - 0.5 * math.log(2 * math.pi), axis=-1)
        return ops.logsumexp(log_p, axis=-1) - math.log(PSEUDO_INPUTS)

    def sample(self, uniforms, temperature):
        mean, log_scale = self.components()
        chosen = ops.cast(uniforms[:, 0] * PSEUDO_INPUTS, "int32")
        noise = math.sqrt(2) * ops.erfinv(2 * uniforms[:, 1:] - 1) * temperature[:, None]
        return ops.take(mean, chosen, axis=0) + ops.exp(ops.take(log_scale, chosen, axis=0)) * noise


def with_realnvp(base):
    couplings = [
        layers.Coupling(nets.MLP((64,), activation="gelu", dropout=0.2), mask="odd_even", flip=i % 2 == 1)
        for i in range(4)
    ]
    return Flow(layers.Chain(couplings), (LATENT,), base=base, dequantizer=None)


def without_flow(base):
    return Flow(layers.Permute(), (LATENT,), base=base, dequantizer=None)  # a new order of z, which changes nothing


PRIORS = {  # functions of the encoder
    "standard normal": lambda encoder: without_flow("normal"),
    "mixture": lambda encoder: without_flow("mixture"),
    "VampPrior": lambda encoder: without_flow(VampPrior(encoder)),
    "RealNVP": lambda encoder: with_realnvp("normal"),
    "VampPrior with RealNVP": lambda encoder: with_realnvp(VampPrior(encoder)),
}


class VAE(keras.Model):
    """q(z | x) normal with a diagonal covariance, p(x | z) binomial with linear logits, p(z) a Flow."""

    def __init__(self, prior, seed):
        super().__init__()
        self.noise = keras.random.SeedGenerator(seed)
        dense = keras.layers.Dense
        self.encoder = keras.Sequential([dense(128, "gelu"), dense(128, "gelu"), dense(2 * LATENT)])
        self.encoder.build((None, 64))
        self.decoder = dense(64)
        self.prior = prior(self.encoder)

    def call(self, x, training=False):
        """One-sample ELBOs [B], nats, of images [B, 64]."""
        mean, log_scale = ops.split(self.encoder(x / COUNTS), 2, axis=-1)
        noise = keras.random.normal(ops.shape(mean), seed=self.noise)
        z = mean + ops.exp(log_scale) * noise
        log_q = ops.sum(-0.5 * ops.square(noise) - log_scale - 0.5 * math.log(2 * math.pi), axis=-1)
        logits = self.decoder(z)
        choices = ops.take(LOG_CHOICES, ops.cast(x, "int32"))
        log_p = choices + x * ops.log_sigmoid(logits) + (COUNTS - x) * ops.log_sigmoid(-logits)
        return ops.sum(log_p, axis=-1) + self.prior(z, training=training) - log_q

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return -ops.mean(y_pred)

    def sample(self, n, seed=0):
        """The decoder's mean [n, 8, 8] at n samples of the prior."""
        logits = self.decoder(self.prior.sample(n, seed=seed))
        return COUNTS * ops.convert_to_numpy(ops.sigmoid(logits)).reshape(n, 8, 8)


def images(split):
    return load_digits(split)["image"].reshape(-1, 64).astype("float32")


def fit(prior, epochs, seed):
    """A trained VAE and its test ELBO, 10 samples for each image."""
    keras.utils.set_random_seed(seed)
    vae, x = VAE(prior, seed), images("train")
    rate = keras.optimizers.schedules.CosineDecay(5e-3, epochs * -(-len(x) // 64))
    vae.compile(keras.optimizers.Adam(rate, clipnorm=100.0))
    vae.fit(x, batch_size=64, epochs=epochs, verbose=0)
    test = vae.predict(np.repeat(images("test"), 10, axis=0), batch_size=3600, verbose=0)
    return vae, float(test.mean())


def draw(panel, title, digits):
    """Draws 64 digits [64, 8, 8] in one panel."""
    framed = np.pad(digits, ((0, 0), (1, 1), (1, 1)), constant_values=COUNTS / 2)
    grid = framed.reshape(8, 8, 10, 10).transpose(0, 2, 1, 3).reshape(80, 80)
    panel.imshow(grid, cmap="gray", vmin=0, vmax=COUNTS)
    panel.set(title=title, xticks=[], yticks=[])


def picture(vaes, path):
    figure, panels = plt.subplots(2, 3, figsize=(10.8, 7.8), layout="constrained")
    for panel, (name, vae) in zip(panels.flat, vaes.items(), strict=False):
        draw(panel, f"samples, {name}", vae.sample(64))
    pseudo_inputs = ops.convert_to_numpy(vaes["VampPrior"].prior.base.pseudo_inputs())
    draw(panels.flat[-1], f"64 of the {PSEUDO_INPUTS} pseudo-inputs", pseudo_inputs[:64].reshape(64, 8, 8))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3, help="how many runs the figures are the mean of")
    parser.add_argument("--output", default="vae_prior.png")
    options = parser.parse_args(arguments)
    figures, vaes = {}, {}
    for name, prior in PRIORS.items():
        elbos = []
        for seed in range(options.seeds):
            vaes[name], elbo = fit(prior, options.epochs, seed)
            elbos.append(elbo)
        figures[name] = float(np.mean(elbos))
        print(f"{name} prior: test ELBO {figures[name]:.2f} nats (runs: {', '.join(f'{e:.2f}' for e in elbos)})")
    picture(vaes, options.output)
    return figures


if __name__ == "__main__":
    main()
