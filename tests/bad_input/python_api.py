"""Calls of the Python API: (call, exception, what was given, what to do)."""

import keras
import numpy as np
from keras import ops

from tfflows import Flow, layers, models, nets, zoo

IMAGES = np.random.RandomState(0).randint(0, 17, (40, 4, 4, 1)).astype("uint8")
LABELS = {"image": IMAGES, "label": np.arange(40) % 3}
TAKES, BATCH, ONE = "integers from 0 to 16", "[batch, 4, 4, 1]", "must be an integer of at least 1"


def coupling(flip=False, **arguments):
    return layers.Coupling(nets.MLP(**arguments), flip=flip)


def flow_on(transform, event_shape=(4, 4, 1), num_values=17, **arguments):
    return Flow(transform, event_shape, num_values, **arguments)


CASES = {
    "scaled images": (lambda w: w.flow.log_prob(IMAGES / 255.0), TypeError, "float64 images", TAKES),
    "scaled images in fit": (lambda w: w.flow.fit(IMAGES.astype("float32")), TypeError, "float32 images", TAKES),
    "images in [0, 1]": (
        lambda w: w.flow.encode(np.float32(IMAGES / 16)),
        TypeError,
        "encode got float32 images",
        'these are scaled to [0, 1]: give (x * 16).round().astype("uint8")',
    ),
    "images in [-1, 1]": (
        lambda w: w.flow.train_on_batch(IMAGES / 8 - 1),
        TypeError,
        "train_on_batch got float64 images",
        'give ((x + 1) * 8.0).round().astype("uint8")',
    ),
    "whole numbers as floats": (
        lambda w: w.flow.bits_per_dim(IMAGES * 1.0),
        TypeError,
        "bits_per_dim got float64 images",
        'give x.astype("uint8")',
    ),
    "channels first": (
        lambda w: w.flow.predict(IMAGES.transpose(0, 3, 1, 2), verbose=0),
        ValueError,
        "predict got an array of shape (40, 1, 4, 4)",
        "channels come first here: give np.moveaxis(x, 1, -1)",
    ),
    "no channels": (lambda w: w.flow.fit(IMAGES[..., 0]), ValueError, "fit got an array", "give x[..., None]"),
    "a label for nobody": (
        lambda w: w.labelled.sample(1),
        ValueError,
        "sample got no condition",
        "pass a label (0 to 2) as `condition`.",
    ),
    "too large": (lambda w: w.flow.log_prob(IMAGES + 200), ValueError, "from 200 to 216", TAKES),
    "too large as a tensor": (
        lambda w: w.flow.encode(ops.convert_to_tensor(IMAGES + 200)),
        ValueError,
        "from 200 to 216",
        TAKES,
    ),
    "too large in bits_per_dim": (lambda w: w.flow.bits_per_dim(IMAGES + 1), ValueError, "from 1 to 17", TAKES),
    "negative": (lambda w: w.flow.log_prob(IMAGES.astype("int32") - 20), ValueError, "from -20 to -4", TAKES),
    "integers as real values": (
        lambda w: w.flow.log_prob(IMAGES, dequantize=False),
        TypeError,
        "uint8 images with dequantize=False",
        "leave dequantize out",
    ),
    "text": (lambda w: w.flow.log_prob("image"), TypeError, "array of <U5", "takes an array of numbers"),
    "nothing": (lambda w: w.flow.log_prob(None), TypeError, "array of object", "takes an array of numbers"),
    "wrong shape": (lambda w: w.flow.log_prob(IMAGES[:, :3]), ValueError, "(40, 3, 4, 1)", BATCH),
    "wrong rank": (lambda w: w.flow.predict(IMAGES[..., 0], verbose=0), ValueError, "(40, 4, 4)", BATCH),
    "one image": (lambda w: w.flow.log_prob(IMAGES[0]), ValueError, "(4, 4, 1)", "give one image as x[None]"),
    "no image": (lambda w: w.flow.log_prob(IMAGES[:0]), ValueError, "empty batch", "at least one image"),
    "no image in fit": (lambda w: w.flow.fit(IMAGES[:0]), ValueError, "empty batch", "at least one image"),
    "NaN": (
        lambda w: w.flow.log_prob(np.full((1, 4, 4, 1), np.nan), dequantize=False),
        ValueError,
        "NaN",
        "remove those rows",
    ),
    "dict without image": (lambda w: w.flow.log_prob({"picture": IMAGES}), ValueError, "['picture']", "'image'"),
    "shape for TFP": (
        lambda w: w.flow.as_distribution().log_prob(np.zeros((2, 3, 1), "float32")),
        ValueError,
        "(2, 3, 1)",
        "last axes must be [4, 4, 1]",
    ),
    "sample of nothing": (lambda w: w.flow.sample(0), ValueError, "n=0", ONE),
    "samples by half": (lambda w: w.flow.sample(2.5), ValueError, "n=2.5", ONE),
    "too many samples": (lambda w: w.flow.sample(10**12), ValueError, "n=1000000000000", "draw at most 134217728"),
    "negative temperature": (
        lambda w: w.flow.sample(1, temperature=-1.0),
        ValueError,
        "temperature=-1.0",
        "at least 0",
    ),
    "temperature NaN": (lambda w: w.flow.sample(1, temperature=np.nan), ValueError, "temperature=nan", "at least 0"),
    "temperature in words": (lambda w: w.flow.sample(1, temperature="hot"), ValueError, "'hot'", "at least 0"),
    "temperatures": (lambda w: w.flow.sample(2, temperature=[1, 1, 1]), ValueError, "[1, 1, 1]", "one number or 2"),
    "seed in words": (lambda w: w.flow.sample(1, seed="a"), TypeError, "seed='a'", "integer from 0 to 2147483647"),
    "seed beyond int32": (lambda w: w.flow.sample(1, seed=2**31), ValueError, "seed=2147483648", "0 to 2147483647"),
    "negative seed": (lambda w: w.flow.bits_per_dim(IMAGES, seed=-1), ValueError, "seed=-1", "0 to 2147483647"),
    "num_samples": (lambda w: w.flow.bits_per_dim(IMAGES, num_samples=0), ValueError, "num_samples=0", ONE),
    "batch_size": (lambda w: w.flow.bits_per_dim(IMAGES, batch_size=0), ValueError, "batch_size=0", ONE),
    "latent shape": (lambda w: w.flow.decode(np.zeros((2, 4))), ValueError, "(2, 4)", "('batch', 16)"),
    "latent NaN": (lambda w: w.flow.decode(np.full((1, 16), np.nan)), ValueError, "NaN", "as encode returns them"),
    "squeezed vectors": (lambda w: layers.Squeeze().build((None, 4)), ValueError, "(None, 4)", "leave it out"),
    "checkerboard of vectors": (
        lambda w: flow_on(layers.Coupling(nets.MLP(), "checkerboard"), (4,), dequantizer=None),
        ValueError,
        "'checkerboard' takes images [B, H, W, C] and got shape (None, 4)",
        "use 'halves' or 'odd_even'",
    ),
    "a network that sees all": (
        lambda w: layers.Autoregressive(nets.MLP()),
        ValueError,
        "a MLP, whose outputs read all of x",
        "takes a MADE or a PixelCNN",
    ),
    "version of no weights": (
        lambda w: zoo.load("small", version=1, weights=None),
        ValueError,
        "version is 1 and weights is None",
        "leave one out",
    ),
    "packaged on the hub": (
        lambda w: zoo.load("hf://me/small", weights="packaged"),
        ValueError,
        "hf://me/small is on the hub",
        "leave weights out",
    ),
    "pictures of real numbers": (
        lambda w: flow_on(layers.Rescale(17), dequantizer=None).show_samples(),
        ValueError,
        "of real numbers, without grey values",
        "draw them with tfflows.plots.images",
    ),
    "no interpolation": (lambda w: w.flow.interpolate(IMAGES[:1], IMAGES[:1], 0), ValueError, "num=0", ONE),
    "uneven interpolation": (
        lambda w: w.flow.interpolate(IMAGES[:2], IMAGES[:3]),
        ValueError,
        "2 and 3 images",
        "as many of each",
    ),
    "condition where none is": (
        lambda w: w.flow.log_prob(IMAGES, 1),
        ValueError,
        "not conditional",
        "leave `condition`",
    ),
    "posterior of an unconditional flow": (
        lambda w: w.flow.class_posterior(IMAGES),
        ValueError,
        "needs a class-conditional flow",
        "num_classes",
    ),
    "no label": (lambda w: w.labelled.log_prob(IMAGES), ValueError, "got no condition", "'label' (0 to 2)"),
    "no label in fit": (lambda w: w.labelled.fit(IMAGES), ValueError, "got no condition", "'label' (0 to 2)"),
    "label too large": (lambda w: w.labelled.log_prob(IMAGES, 3), ValueError, "from 3 to 3", "from 0 to 2"),
    "label too large in fit": (
        lambda w: w.labelled.fit({**LABELS, "label": np.full(40, 7)}),
        ValueError,
        "from 7 to 7",
        "from 0 to 2",
    ),
    "fractional label": (lambda w: w.labelled.log_prob(IMAGES, 0.5), TypeError, "float64", "must be integers"),
    "fewer labels": (lambda w: w.labelled.log_prob(IMAGES, [0, 1]), ValueError, "2 conditions for 40", "one for each"),
    "pairs for a conditional flow": (
        lambda w: w.labelled.fit(IMAGES, LABELS["label"]),
        ValueError,
        "got (x, y)",
        "'image' and 'label' instead",
    ),
    "flow and transform disagree": (
        lambda w: flow_on(models.nice((4, 4, 1), 17), num_classes=3),
        ValueError,
        "gives its transform a condition of size 3 and the transform reads one of size 0",
        "condition_size=3",
    ),
    "transform and flow disagree": (
        lambda w: flow_on(models.nice((4, 4, 1), 17, 3)),
        ValueError,
        "the transform reads one of size 3",
        "num_classes or condition_size 3",
    ),
    "no flow layer": (lambda w: flow_on(keras.layers.Dense(3)), TypeError, "transform=<Dense", "must be a FlowLayer"),
    "event_shape": (lambda w: flow_on(layers.Rescale(17), (4, 0, 1)), ValueError, "(4, 0, 1)", "positive integers"),
    "event_shape, a number": (lambda w: flow_on(layers.Rescale(17), 4), ValueError, "event_shape=4", "as (28, 28, 1)"),
    "num_values": (lambda w: flow_on(layers.Rescale(17), num_values=1), ValueError, "num_values=1", "at least 2"),
    "base": (lambda w: flow_on(layers.Rescale(17), base="cauchy"), ValueError, "'cauchy'", "use one of 'normal'"),
    "dequantizer": (lambda w: flow_on(layers.Rescale(17), dequantizer="x"), ValueError, "'x'", "use 'uniform'"),
    "mask": (
        lambda w: layers.Coupling(nets.MLP(), mask="stripes"),
        ValueError,
        "mask='stripes'",
        "use one of 'halves'",
    ),
    "alpha": (lambda w: layers.Logit(17, alpha=0.5), ValueError, "alpha=0.5", "between 0 and 1/2"),
    "one channel": (lambda w: coupling().build((None, 1)), ValueError, "cannot divide 1 channel", "at least 2"),
    "one channel flipped": (lambda w: coupling(True).build((None, 1)), ValueError, "divide 1 channel", "at least 2"),
    "narrow conditioner": (lambda w: coupling(outputs=3).build((None, 4)), ValueError, "3 channels", "4 are needed"),
    "inverted actnorm": (
        lambda w: layers.Invert(layers.ActNorm()).build((None, 2)),
        ValueError,
        "cannot exchange the directions of ActNorm",
        "outside of Invert",
    ),
    "odd squeeze": (lambda w: layers.Squeeze().build((None, 3, 4, 1)), ValueError, "3x4", "even sides"),
    "zoo weights": (lambda w: zoo.load("small", weights="imagenet"), ValueError, "'imagenet'", "'packaged' or None"),
}


def data_set(values, batch_size=8):
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(values)
    return data.batch(batch_size) if batch_size else data


BAD_SINCE_THE_THIRD = np.concatenate([IMAGES[:16], IMAGES[:8] + 200])
ON_TENSORFLOW = {
    "data set out of range": (
        lambda w: w.flow.evaluate(data_set(IMAGES + 200), verbose=0),
        ValueError,
        "from 200 to 216",
        TAKES,
    ),
    "third batch out of range": (
        lambda w: w.flow.fit(data_set(BAD_SINCE_THE_THIRD), verbose=0),
        ValueError,
        "from 200 to 216",
        TAKES,
    ),
    "labels out of range": (
        lambda w: w.labelled.predict(data_set({**LABELS, "label": np.full(40, 7)}), verbose=0),
        ValueError,
        "from 7 to 7",
        "from 0 to 2",
    ),
    "data set of floats": (lambda w: w.flow.fit(data_set(IMAGES / 17.0)), TypeError, "float64 images", TAKES),
    "data set without batches": (
        lambda w: w.flow.fit(data_set(IMAGES, 0)),
        ValueError,
        "(4, 4, 1)",
        "batch a data set",
    ),
    "empty data set": (lambda w: w.flow.fit(data_set(IMAGES[:0])), ValueError, "is empty", "at least one batch"),
    "data set without images": (
        lambda w: w.flow.fit(data_set({"picture": IMAGES})),
        ValueError,
        "['picture']",
        "rename its array",
    ),
}
