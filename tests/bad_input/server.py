"""Requests that the server refuses with TensorFlow Serving's status: by REST and by gRPC."""

import numpy as np

IMAGES = np.random.RandomState(0).randint(0, 17, (5, 8, 8, 1)).astype("uint8")
ROW = IMAGES[0].tolist()
MODEL = "/v1/models/small"
SEED, TEMPERATURE = np.array([1], np.int32), np.array([1], np.float32)

# (path, body, status, what was given, what to do)
REST = {
    "no JSON": (":predict", b"{", 400, "the request is not JSON", "Expecting property name"),
    "no text": (":predict", b"\xff\xfe\x00", 400, "the request is not JSON", "decode"),
    "deep": (":predict", b"[" * 10**5, 400, "the request is not JSON", "recursion"),
    "no object": (":predict", [1], 400, "must be a JSON object", 'either "instances" (rows) or "inputs" (columns)'),
    "both formats": (":predict", {"instances": [ROW], "inputs": [ROW]}, 400, "JSON object", "either"),
    "no rows": (":predict", {"instances": []}, 400, "instances", "a list of at least one row"),
    "rows that differ": (
        ":predict",
        {"instances": [{"images": ROW}, {"image": ROW}]},
        400,
        "instances",
        "the same keys",
    ),
    "ragged": (":predict", {"instances": [[[[1], [2]], [[3]]]]}, 400, "'images' is not an array", "different lengths"),
    "text": (":predict", {"inputs": "image"}, 400, "not uint8", "give numbers of that type"),
    "fractions": (":predict", {"inputs": (IMAGES + 0.5).tolist()}, 400, "not uint8", "give numbers of that type"),
    "null": (":predict", {"inputs": None}, 400, "not uint8", "give numbers of that type"),
    "range": (":predict", {"inputs": (IMAGES.astype(int) + 250).tolist()}, 400, "from 250 to 266", "holds 0 to 255"),
    "NaN": (
        ":predict",
        {"signature_name": "sample", "inputs": {"seed": [float("nan")], "temperature": [1]}},
        400,
        "'seed' holds values that are not int32",
        "give numbers of that type",
    ),
    "several inputs": (
        ":predict",
        {"signature_name": "sample", "inputs": [1]},
        400,
        "this signature has several inputs",
        "with the keys seed, temperature",
    ),
    "signature type": (":predict", {"signature_name": 3, "inputs": [ROW]}, 400, "is 3", "expected a string"),
    "unknown signature": (
        ":predict",
        {"signature_name": "x", "inputs": [ROW]},
        400,
        "signature 'x'",
        "small has decode",
    ),
    "large batch": (":predict", {"inputs": [ROW] * 65}, 400, "65 rows", "at most 64 are taken: split the request"),
    "large body": (":predict", b" " * (2**20 + 1), 429, "more than 1048576 bytes", "send smaller batches"),
    "unknown version": ("/versions/7:predict", {"inputs": [ROW]}, 404, "no version 7", "there is 1"),
    "classification": (":classify", {}, 501, "flows have no classes", "use predict"),
    "wrong method": ("", {}, 400, "Malformed request: POST /v1/models/small", "there is POST"),
    "unknown model": ("/../smal:predict", {"inputs": [ROW]}, 404, "'smal'", "there is small"),
    "unknown path": ("/../../../v2/x", {}, 400, "Malformed request: POST /v2/x", "there is POST"),
}
# (arguments, code, what was given, what to do)
RPC = {
    "unknown model": ({"name": "smal", "images": IMAGES}, "NOT_FOUND", "'smal'", "there is small"),
    "no model": ({"name": "", "images": IMAGES}, "INVALID_ARGUMENT", "names no model", "set model_spec.name"),
    "unknown version": ({"version": 9, "images": IMAGES}, "NOT_FOUND", "no version 9", "there is 1"),
    "unknown signature": (
        {"signature": "smaple", "images": IMAGES},
        "INVALID_ARGUMENT",
        "'smaple'",
        "small has decode, encode",
    ),
    "unknown output": (
        {"outputs": ["density"], "images": IMAGES},
        "INVALID_ARGUMENT",
        "density",
        "there is bits_per_dim",
    ),
    "missing input": (
        {"signature": "sample", "seed": SEED},
        "INVALID_ARGUMENT",
        "got seed",
        "takes the inputs seed, temp",
    ),
    "wrong dtype": ({"images": IMAGES.astype(np.float32)}, "INVALID_ARGUMENT", "is float32", "expected uint8"),
    "wrong rank": ({"images": IMAGES[0]}, "INVALID_ARGUMENT", "shape [8, 8, 1]", "expected [batch, 8, 8, 1]"),
    "wrong shape": ({"images": IMAGES[:, :3]}, "INVALID_ARGUMENT", "[5, 3, 8, 1]", "expected [batch, 8, 8, 1]"),
    "no rows": ({"images": IMAGES[:0]}, "INVALID_ARGUMENT", "'images' has no rows", "send at least one"),
    "large batch": ({"images": IMAGES.repeat(13, 0)}, "INVALID_ARGUMENT", "65 rows", "split the request"),
    "uneven rows": (
        {"signature": "sample", "seed": SEED, "temperature": TEMPERATURE.repeat(2)},
        "INVALID_ARGUMENT",
        "1 and 2 rows",
        "give all the same number",
    ),
    "large message": (
        {"images": IMAGES.repeat(4000, 0)},
        "RESOURCE_EXHAUSTED",
        "Received message larger",
        "vs. 1048576)",
    ),
    "no time": ({"images": IMAGES, "timeout": 1e-6}, "DEADLINE_EXCEEDED", "", ""),  # by client or server
    "no protobuf": ({"raw": b"\xff" * 20}, "INVALID_ARGUMENT", "not a request of", "PredictionService/Predict"),
}
