"""Anomaly scores of images under a flow: the higher, the less an image looks like the flow's training data.

All are in bits/dim, one number for each image, float64 [N]. The plain likelihood fails in a known way: images that
are simpler than the training data often get a higher density (Nalisnick et al. 2019, arXiv 1810.09136). The two other
scores are answers to that. `images` is integers [N, H, W, C], or a dict with `image` and `label`; a class-conditional
flow that gets no labels is taken as the mixture of its classes with equal weights. `calibrate` turns a score into
verdicts with a stated rate of false alarms.
"""

import io
import math
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image
from sklearn.metrics import roc_auc_score

from tfflows.errors import InputError
from tfflows.flow import Flow

if TYPE_CHECKING:
    from tfflows.evaluation.calibration import Calibration

CODERS = ("png", "zlib")

Images = np.ndarray | Mapping[str, np.ndarray]


def bits_per_dim(flow: Flow, images: Images, *, seed: int = 0, batch_size: int = 256) -> np.ndarray:
    """Returns -log2 p(x) / D [N], the bits/dim of each image, by one sample of the noise.

    Args:
        flow: a flow with a dequantizer.
        images: see the module.
        seed: of the dequantization noise.
        batch_size: images that are evaluated at once.
    """
    if flow.num_classes is None or (isinstance(images, Mapping) and "label" in images):
        return np.asarray(flow.bits_per_dim(images, seed=seed, batch_size=batch_size), "float64")
    array = _array(images)
    classes = [
        flow.bits_per_dim(array, np.full(len(array), label), seed=seed, batch_size=batch_size)
        for label in range(flow.num_classes)
    ]
    size = math.prod(flow.event_shape)
    mean = np.logaddexp2.reduce(-size * np.asarray(classes, "float64"), axis=0) - math.log2(flow.num_classes)
    return -mean / size


def typicality(flow: Flow, images: Images, entropy: float, *, seed: int = 0, batch_size: int = 256) -> np.ndarray:
    """Returns |-log2 p(x) / D - entropy| [N]: how far the likelihood is from that of typical images, on either side.

    Args:
        flow: a flow with a dequantizer.
        images: see the module.
        entropy: the mean of `bits_per_dim` over held-out images of the same kind as the training data.
        seed: of the dequantization noise.
        batch_size: images that are evaluated at once.

    Raises:
        InputError: `entropy` is not one finite number.

    Reference:
        Nalisnick, Matsukawa, Teh and Lakshminarayanan 2019, arXiv 1906.02994, section 3, for one image.
    """
    if np.ndim(entropy) or not math.isfinite(entropy):
        raise InputError(f"entropy is {entropy!r}, expected a number: the mean bits/dim of typical images")
    return np.abs(bits_per_dim(flow, images, seed=seed, batch_size=batch_size) - float(entropy))


def input_complexity(
    flow: Flow, images: Images, *, coder: str = "png", seed: int = 0, batch_size: int = 256
) -> np.ndarray:
    """Returns (-log2 p(x) - L(x)) / D [N], where L(x) is the bits that a lossless coder takes for the image.

    It is the log-ratio of the coder, as a model of all images, to the flow.

    Args:
        flow: a flow with a dequantizer.
        images: see the module.
        coder: "png" or "zlib", see `code_length`.
        seed: of the dequantization noise.
        batch_size: images that are evaluated at once.

    Raises:
        InputError: there is no such coder, or it cannot code these images.

    Reference:
        Serra et al. 2020, "Input complexity and out-of-distribution detection with likelihood-based generative
        models", arXiv 1909.11480, equation 2.
    """
    lengths = code_length(_array(images), coder)
    return bits_per_dim(flow, images, seed=seed, batch_size=batch_size) - lengths


SCORES = {function.__name__: function for function in (bits_per_dim, typicality, input_complexity)}


def calibrate(flow: Flow, images: Images, score: str = "bits_per_dim", **options: Any) -> "Calibration":
    """Returns p-values and thresholds for a score from held-out images, see `calibration.calibrate`."""
    from tfflows.evaluation import calibration  # which builds on this module

    return calibration.calibrate(flow, images, score, **options)


def code_length(images: ArrayLike, coder: str = "png") -> np.ndarray:
    """Returns the bits/dim [N] that a lossless coder takes for each image, header included.

    Args:
        images: integers [N, H, W, 1 or 3] from 0 to 255.
        coder: "png" or "zlib".

    Raises:
        InputError: there is no such coder, or the images have another shape or range.
    """
    if coder not in CODERS:
        raise InputError(f"coder is {coder!r}, expected one of {', '.join(map(repr, CODERS))}")
    images = np.asarray(images)
    is_image = images.ndim == 4 and images.shape[-1] in (1, 3) and np.issubdtype(images.dtype, np.integer)
    if not is_image or images.min(initial=0) < 0 or images.max(initial=0) > 255:
        given = f"{images.dtype} of shape {images.shape}"
        raise InputError(f"code_length takes integers [N, H, W, 1 or 3] from 0 to 255 and got {given}")
    encode = _png if coder == "png" else lambda image: zlib.compress(image.tobytes(), 9)
    return np.array([8 * len(encode(image)) for image in images.astype("uint8")]) / math.prod(images.shape[1:])


def auroc(scores: ArrayLike, anomaly_scores: ArrayLike) -> float:
    """Returns the chance that an anomaly has the higher score than another image: 0.5 is guessing, 1 is perfect.

    Args:
        scores: of images of the training data's kind, [N].
        anomaly_scores: of anomalies, [M].
    """
    is_anomaly = np.repeat([0, 1], [len(scores), len(anomaly_scores)])
    return float(roc_auc_score(is_anomaly, np.concatenate([scores, anomaly_scores])))


def _array(images: Images) -> Any:
    return images["image"] if isinstance(images, Mapping) else images


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(file, "png", optimize=True)
    return file.getvalue()
