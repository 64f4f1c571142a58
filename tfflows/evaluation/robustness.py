"""Numerical robustness: what a flow makes of images that it was not trained on, and of its own latents."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from tfflows import _backend
from tfflows._backend import Tensor, noise
from tfflows.flow import Flow

LARGEST_COUNT = 20_000  # test images that the command looks at
COUNT = 256  # images of each kind but the test images
NUM_SAMPLES = 1000


def measure(flow: Flow, test: Mapping[str, np.ndarray], batch_size: int = 256) -> dict[str, Any]:
    """Returns densities and round trips on images of every kind, and figures of samples, ready for JSON.

    For the test images, constant images of value 0 and of the largest, uniform noise and patches of photographs:
    whether log_prob is finite everywhere, the mean bits/dim, and the largest error of x -> z -> x in pixel units, x
    the middle of the pixels. For samples at temperature 1, before they are rounded and clipped: whether all are
    finite, and the share of values outside of the range of pixels.

    Args:
        flow: a flow on images, computing in float32.
        test: the test split's `image` and, for a class-conditional flow, `label`.
        batch_size: images that are evaluated at once.
    """
    inverse = _backend.jit(flow, flow.transform.inverse_and_log_det)
    forward = _backend.jit(flow, flow.generate)
    kinds = {"test images": test["image"], **other_images(flow.event_shape, flow.num_values)}
    report = {}
    for kind, images in kinds.items():
        labels = test["label"] if kind == "test images" and flow.num_classes else _labels(flow, len(images))
        log_prob, error = [], []
        for start in range(0, len(images), batch_size):
            rows = slice(start, start + batch_size)
            condition = _condition(flow, None if labels is None else labels[rows])
            x = ops.convert_to_tensor(images[rows].astype("float32") + 0.5)
            z, _ = inverse(x, condition)
            error.append(np.abs(_numpy(forward(z, condition)) - _numpy(x)).reshape(len(x), -1).max(axis=1))
            log_prob.append(_numpy(flow.log_prob(images[rows], None if labels is None else labels[rows])))
        log_prob, error = np.concatenate(log_prob), np.concatenate(error)
        bits = -log_prob / (math.prod(flow.event_shape) * math.log(2.0))
        report[kind] = {
            "count": len(images),
            "finite": bool(np.all(np.isfinite(log_prob))),
            "bits_per_dim": float(bits.mean()),
            "round_trip": float(error.max()),
        }
    seeds = np.arange(NUM_SAMPLES, dtype="uint32")
    uniforms = noise.uniform(noise.seed_keys(seeds), flow.base.num_uniforms)
    z = flow.base.sample(uniforms, np.ones(NUM_SAMPLES, "float32"))
    x = _numpy(forward(z, _condition(flow, _labels(flow, NUM_SAMPLES))))
    samples = {
        "count": NUM_SAMPLES,
        "finite": bool(np.all(np.isfinite(x))),
        "outside": float(np.mean((x < 0) | (x >= flow.num_values))),
    }
    return {"images": report, "samples": samples}


def table(report: Mapping[str, Any]) -> str:
    """Returns a report of `measure` as Markdown."""
    rows = ["| images | number | log_prob finite | bits/dim | round trip, pixels |", "|---|---:|---|---:|---:|"]
    for kind, row in report["images"].items():
        finite = "everywhere" if row["finite"] else "**not everywhere**"
        bits = f"{row['bits_per_dim']:.2f}" if row["bits_per_dim"] < 1e4 else f"{row['bits_per_dim']:.0e}"
        rows.append(f"| {kind} | {row['count']} | {finite} | {bits} | {row['round_trip']:.1e} |")
    samples = report["samples"]
    return "\n".join(rows) + (
        f"\n\n{samples['count']:,} samples at temperature 1: "
        f"{'none is NaN or infinite' if samples['finite'] else '**some are NaN or infinite**'}; "
        f"{samples['outside']:.1%} of their values lie outside of the range of pixels and are clipped to it.\n"
    )


def other_images(event_shape: tuple[int, int, int], num_values: int) -> dict[str, np.ndarray]:
    """Returns integer images [N, *event_shape] by kind, of kinds that no data set of the zoo holds."""
    draw = np.random.RandomState(0)
    dtype = "uint8" if num_values <= 256 else "int32"
    return {
        "all zero": np.zeros((1, *event_shape), dtype),
        "all maximum": np.full((1, *event_shape), num_values - 1, dtype),
        "uniform noise": draw.randint(0, num_values, (COUNT, *event_shape)).astype(dtype),
        "photographs": (_patches(event_shape, draw) * num_values // 256).astype(dtype),
    }


def _patches(event_shape: tuple[int, int, int], draw: np.random.RandomState) -> np.ndarray:
    """Returns random patches [COUNT, *event_shape], from 0 to 255, of the two photographs in scikit-learn."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    height, width, channels = event_shape
    photos = [Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    photos = [photo.resize((max(photo.width, width), max(photo.height, height))) for photo in photos]
    patches = []
    for index in range(COUNT):
        photo = photos[index % 2]
        left, top = draw.randint(photo.width - width + 1), draw.randint(photo.height - height + 1)
        patch = photo.crop((left, top, left + width, top + height)).convert("L" if channels == 1 else "RGB")
        patches.append(np.asarray(patch, "int32").reshape(event_shape))
    return np.stack(patches)


def _labels(flow: Flow, number: int) -> np.ndarray | None:
    return None if flow.num_classes is None else np.arange(number) % flow.num_classes


def _condition(flow: Flow, labels: np.ndarray | None) -> Tensor | None:
    return None if labels is None else ops.one_hot(ops.convert_to_tensor(labels), flow.num_classes, dtype=flow.dtype)


def _numpy(x: Tensor) -> np.ndarray:
    return ops.convert_to_numpy(x)
