"""Exact sampling from masked convolutions: caches of rows and columns against one pass of the network for each pixel.

    python benchmarks/pixelcnn_sampling.py [--recipe maf_conv_mnist] [--naive-pixels 784]

The network and mixture of a recipe with random weights, batch 64, float32. The density pass and the cached sampler take
turns, as plain graphs; the naive loop of passes runs once, over the first `--naive-pixels` pixels, scaled to all.
Both samplers must agree on the pixels that the naive one has drawn.
"""

import argparse
import time

import numpy as np
import tensorflow as tf
from timing import take_turns, write

from tfflows import zoo

BATCH = 64


def time_of(function, argument):
    start = time.perf_counter()
    function(argument).numpy()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="maf_conv_mnist")
    parser.add_argument("--naive-pixels", type=int, help="default all")
    options = parser.parse_args()
    flow, rng = zoo.build(options.recipe), np.random.default_rng(0)
    for weight in flow.trainable_weights:
        weight.assign(weight + 0.02 * rng.normal(size=weight.shape))
    layer = flow.transform.layers[0]
    size = flow.latent_shape[0]
    z = tf.constant(rng.normal(size=(BATCH, size)), "float32")

    def next_pixel(x, i):
        outputs = tf.reshape(layer.conditioner(x), (BATCH, -1))
        drawn = layer.transformer.bijector(outputs).forward(z)
        return tf.where(tf.range(size) == i, drawn, x)

    cached = tf.function(lambda z: layer.forward_and_log_det(z)[0])
    density, naive = tf.function(lambda x: layer.inverse_and_log_det(x)[1]), tf.function(next_pixel)
    x = cached(z)
    sides = {"density pass": lambda: time_of(density, x), "sample": lambda: time_of(cached, z)}
    times = take_turns(sides, rounds=5)
    count = options.naive_pixels or size
    by_passes = naive(tf.zeros_like(x), tf.constant(-1))
    start = time.perf_counter()
    for i in range(count):
        by_passes = naive(by_passes, tf.constant(i))
    seconds = (time.perf_counter() - start) * size / count
    differing = np.mean(np.floor(by_passes[:, :count]) != np.floor(x[:, :count]))
    passes = {how: times["sample"][how] / times["density pass"][how] for how in ("min", "median")}
    write(
        "pixelcnn_sampling",
        {
            "recipe": options.recipe,
            "batch": BATCH,
            **times,
            "density passes for a sample": passes,
            "naive": {"seconds": seconds, "pixels measured": count},
            "share of pixels that differ": float(differing),
        },
    )


if __name__ == "__main__":
    main()
