"""The p-value of an image (`evaluation.calibration`), as operations of a graph."""

import math

from keras import ops

from tfflows._backend import Tensor
from tfflows.evaluation.calibration import DECIMALS, LARGEST, Calibration


def in_graph(calibration: Calibration | None) -> bool:
    """Returns whether a graph of log_prob can compute the p-values of a calibration.

    It has the likelihood by the noise of seed 0, so that the score must be a function of that: "bits_per_dim" or
    "typicality". A class-conditional flow's log_prob takes a label, and is calibrated with labels.
    """
    if calibration is None:
        return False
    by_likelihood = calibration.score in ("bits_per_dim", "typicality") and not calibration.options.get("seed")
    return by_likelihood and calibration.labelled == (calibration.flow.num_classes is not None)


def p_value(calibration: Calibration, log_prob: Tensor) -> dict[str, Tensor]:
    """Returns {"anomaly_p_value": [B]} for log_prob [B] in nats."""
    # In float64 as Python computes scores, so that an image has the same p-value here and there.
    size = math.prod(calibration.flow.event_shape)
    score = ops.cast(log_prob, "float64") / (-size * math.log(2.0))
    if calibration.score == "typicality":
        score = ops.abs(score - calibration.options["entropy"])
    score = ops.round(ops.minimum(score, LARGEST) * 10**DECIMALS) / 10**DECIMALS
    held_out, n = ops.convert_to_tensor(calibration.held_out, "float64"), len(calibration.held_out)
    below = ops.zeros_like(score, dtype="int32")
    # Bisection by plain operations, which every engine that reads a SavedModel knows.
    for bit in reversed(range(n.bit_length())):
        further = below + 2**bit
        value = ops.take(held_out, ops.minimum(further, n) - 1, axis=0)
        reached = ops.logical_and(further <= n, ops.logical_not(value >= score))
        below = ops.where(reached, further, below)
    return {"anomaly_p_value": ops.cast(1 + n - below, log_prob.dtype) / (n + 1)}
