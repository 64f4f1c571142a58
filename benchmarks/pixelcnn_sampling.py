"""Exact sampling from masked convolutions: caches of rows and columns against one pass of the network for each pixel.

    python benchmarks/pixelcnn_sampling.py [--recipe maf_conv_mnist] [--rounds 12]

The network and mixture of a recipe with random weights, batch 64, float32, plain graphs. A density pass, a whole sample
by caches, and one pixel of the naive loop (one pass for all pixels, of which it keeps one) take turns; the naive loop's
time is that of a pixel times their number. Both must agree on the pixels that the naive loop has drawn.
"""

import argparse
import itertools
import time

import numpy as np
import tensorflow as tf
from timing import take_turns, write

from tfflows import zoo

BATCH = 64


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="maf_conv_mnist")
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    flow, rng = zoo.build(options.recipe), np.random.default_rng(0)
    for weight in flow.trainable_weights:
        weight.assign(weight + 0.02 * rng.normal(size=weight.shape))
    layer = flow.transform.layers[0]
    size = flow.latent_shape[0]
    z = tf.constant(rng.normal(size=(BATCH, size)), "float32")

    @tf.function
    def next_pixel(x, i):
        outputs = tf.reshape(layer.conditioner(x), (BATCH, -1))
        drawn = layer.transformer.bijector(outputs).forward(z)
        return tf.where(tf.range(size) == i, drawn, x)

    cached, density = tf.function(lambda z: layer.forward_and_log_det(z)[0]), tf.function(layer.inverse_and_log_det)
    x, naive, pixels = cached(z), tf.Variable(tf.zeros((BATCH, size))), itertools.count()

    def seconds(function):
        start = time.perf_counter()
        function()
        return time.perf_counter() - start

    times = take_turns(
        {
            "density pass": lambda: seconds(lambda: density(x)[1].numpy()),
            "sample": lambda: seconds(lambda: cached(z).numpy()),
            "naive loop": lambda: size * seconds(lambda: naive.assign(next_pixel(naive, tf.constant(next(pixels))))),
        },
        rounds=options.rounds,
    )
    count = next(pixels)
    passes = {
        side: {how: times[side][how] / times["density pass"][how] for how in ("min", "median")}
        for side in ("sample", "naive loop")
    }
    results = {
        "recipe": options.recipe,
        "batch": BATCH,
        "seconds": times,
        "density passes": passes,
        "pixels drawn by the naive loop": count,
        "share of them that differ": float(np.mean(np.floor(naive[:, :count]) != np.floor(x[:, :count]))),
    }
    write("pixelcnn_sampling", results)


if __name__ == "__main__":
    main()
