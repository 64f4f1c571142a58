"""The bits of single pixels: where in an image a flow is surprised."""

from typing import Any

import numpy as np
from keras import ops

from tfflows._backend import Tensor, noise
from tfflows.dequantizers import UniformDequantizer
from tfflows.errors import InputError, UnsupportedError
from tfflows.flow import inputs


def bits_map(
    flow: Any, images: Any, condition: Any, num_samples: int, seed: int, batch_size: int
) -> np.ndarray | Tensor:
    """Returns the bits [B, H, W] of single pixels, see `Flow.bits_map`."""
    inputs.check_count("bits_map", num_samples=num_samples, batch_size=batch_size)
    inputs.check_seed("bits_map", seed)
    if len(flow.event_shape) != 3:
        raise InputError(f"bits_map is of images [B, H, W, C]: this flow takes x of shape {list(flow.event_shape)}.")
    if not isinstance(flow.dequantizer, UniformDequantizer | None):
        raise UnsupportedError("The density of variational noise has no parts of single pixels: use bits_per_dim.")
    x, condition = inputs.check(flow, "bits_map", images, condition)
    graph = flow._graph("bits_map", lambda *arguments: _bits(flow, *arguments))
    maps = []
    for start in range(0, len(x), batch_size):
        rows = slice(start, start + batch_size)
        label = None if condition is None else condition[rows]
        draws = range(num_samples if flow.dequantizer is not None else 1)
        each = [ops.convert_to_numpy(graph(x[rows], label, noise.pair(seed, draw))) for draw in draws]
        maps.append(np.mean(each, axis=0, dtype="float64"))
    maps = np.concatenate(maps)
    return ops.convert_to_tensor(maps, dtype=flow.dtype) if inputs.is_tensor(images) else maps


def _bits(flow: Any, x: Tensor, condition: Tensor | None, draw: tuple[Tensor, Tensor]) -> Tensor:
    if flow.dequantizer is not None:
        x, _ = flow.dequantizer.dequantize(x, noise.fold(noise.image_keys(x), *draw))
    z, local = flow.transform.inverse_and_local_log_det(ops.cast(x, flow.dtype), condition)
    nats = local + flow.transform.locate(flow.base.local_log_prob(z))
    return -ops.sum(nats, axis=-1) / np.log(2.0)
