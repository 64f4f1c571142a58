"""Anomaly scores of images under a flow: the higher, the less an image looks like the flow's training data.

All are in bits/dim, one number for each image, float64 [N]. The plain likelihood fails in a known way: images that
are simpler than the training data often get a higher density (Nalisnick et al. 2019, arXiv 1810.09136). The two other
scores are answers to that. `images` is integers [N, H, W, C], or a dict with `image` and `label`; a class-conditional
flow that gets no labels is taken as the mixture of its classes with equal weights.
"""

import io
import math
import zlib

import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from tfflows.errors import InputError

CODERS = ("png", "zlib")


def likelihood(flow, images, *, seed=0, batch_size=256):
    """-log2 p(x) / D: the bits/dim of each image, by one sample of the noise."""
    if flow.num_classes is None or (isinstance(images, dict) and "label" in images):
        return np.asarray(flow.bits_per_dim(images, seed=seed, batch_size=batch_size), "float64")
    array = _array(images)
    classes = [
        flow.bits_per_dim(array, np.full(len(array), label), seed=seed, batch_size=batch_size)
        for label in range(flow.num_classes)
    ]
    size = math.prod(flow.event_shape)
    mean = np.logaddexp2.reduce(-size * np.asarray(classes, "float64"), axis=0) - math.log2(flow.num_classes)
    return -mean / size


def typicality(flow, images, entropy, *, seed=0, batch_size=256):
    """|-log2 p(x) / D - entropy|: how far the likelihood is from that of typical images, on either side.

    entropy: the mean of `likelihood` over images of the training data's kind that were held out, in bits/dim.

    Reference: Nalisnick, Matsukawa, Teh and Lakshminarayanan 2019, arXiv 1906.02994, section 3, for one image.
    """
    if np.ndim(entropy) or not math.isfinite(entropy):
        raise InputError(f"entropy is {entropy!r}, expected a number: the mean likelihood of typical images")
    return np.abs(likelihood(flow, images, seed=seed, batch_size=batch_size) - float(entropy))


def input_complexity(flow, images, *, coder="png", seed=0, batch_size=256):
    """(-log2 p(x) - L(x)) / D, L(x) the bits that a lossless coder takes for the image: see `code_length`.

    It is the log-ratio of the coder, as a model of all images, to the flow.

    Reference: Serra et al. 2020, "Input complexity and out-of-distribution detection with likelihood-based
    generative models", arXiv 1909.11480, equation 2.
    """
    lengths = code_length(_array(images), coder)
    return likelihood(flow, images, seed=seed, batch_size=batch_size) - lengths


def code_length(images, coder="png"):
    """Bits/dim [N] that a lossless coder, "png" or "zlib", takes for each image [H, W, C] of bytes, header included."""
    if coder not in CODERS:
        raise InputError(f"coder is {coder!r}, expected one of {', '.join(map(repr, CODERS))}")
    images = np.asarray(images)
    is_image = images.ndim == 4 and images.shape[-1] in (1, 3) and np.issubdtype(images.dtype, np.integer)
    if not is_image or images.min(initial=0) < 0 or images.max(initial=0) > 255:
        given = f"{images.dtype} of shape {images.shape}"
        raise InputError(f"code_length takes integers [N, H, W, 1 or 3] from 0 to 255 and got {given}")
    encode = _png if coder == "png" else lambda image: zlib.compress(image.tobytes(), 9)
    return np.array([8 * len(encode(image)) for image in images.astype("uint8")]) / math.prod(images.shape[1:])


def auroc(scores, anomaly_scores):
    """The chance that an anomaly has the higher score than another image: 0.5 is guessing, 1 is perfect."""
    is_anomaly = np.repeat([0, 1], [len(scores), len(anomaly_scores)])
    return float(roc_auc_score(is_anomaly, np.concatenate([scores, anomaly_scores])))


def _array(images):
    return images["image"] if isinstance(images, dict) else images


def _png(image):
    file = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(file, "png", optimize=True)
    return file.getvalue()
