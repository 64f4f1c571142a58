"""Requests that TensorFlow Serving replays when it loads a model, so that no client waits for a first trace.

    <version>/assets.extra/tf_serving_warmup_requests    a TFRecord file of tensorflow.serving.PredictionLog

TensorFlow does not include that message, which is three nested ones, so its bytes are written here: every field
is length-delimited (https://protobuf.dev/programming-guides/encoding/).
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

PATH = Path("assets.extra", "tf_serving_warmup_requests")

# Field numbers of tensorflow_serving/apis/{prediction_log, predict, model}.proto.
PREDICTION_LOG_PREDICT_LOG = 6
PREDICT_LOG_REQUEST = 1
PREDICT_REQUEST_MODEL_SPEC, PREDICT_REQUEST_INPUTS = 1, 2
MODEL_SPEC_SIGNATURE_NAME = 3
MAP_KEY, MAP_VALUE = 1, 2


def write(folder: str | Path, requests: Iterable[tuple[str, Mapping[str, np.ndarray]]]) -> None:
    """Writes the warm-up file of the SavedModel in `folder`.

    Args:
        folder: the version folder.
        requests: pairs of a signature's name and its inputs, a dict of arrays.
    """
    import tensorflow as tf

    path = Path(folder) / PATH
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests:
            writer.write(_prediction_log(signature, {k: tf.make_tensor_proto(v) for k, v in inputs.items()}))


def _prediction_log(signature: str, inputs: Mapping[str, Any]) -> bytes:
    request = _field(PREDICT_REQUEST_MODEL_SPEC, _field(MODEL_SPEC_SIGNATURE_NAME, signature.encode()))
    for name, tensor in inputs.items():
        entry = _field(MAP_KEY, name.encode()) + _field(MAP_VALUE, tensor.SerializeToString())
        request += _field(PREDICT_REQUEST_INPUTS, entry)
    return _field(PREDICTION_LOG_PREDICT_LOG, _field(PREDICT_LOG_REQUEST, request))


def _field(number: int, payload: bytes) -> bytes:
    """Returns a length-delimited field: its tag, the length, the payload."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    digits = []
    while value >= 128:
        digits.append(value % 128 + 128)
        value //= 128
    return bytes([*digits, value])
