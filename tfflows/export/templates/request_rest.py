"""REST requests to a flow with the standard library alone: python request_rest.py NAME [http://HOST:PORT]"""

import json
import sys
import urllib.request

name = sys.argv[1]
url = f"{sys.argv[2] if len(sys.argv) > 2 else 'http://127.0.0.1:8501'}/v1/models/{name}"


def get(path: str) -> dict:
    """Returns the answer to a GET below the model's URL."""
    with urllib.request.urlopen(url + path, timeout=60) as response:
        return json.load(response)


def predict(signature: str, **columns: list) -> dict | list:
    """Sends all rows at once, one list for each input; returns one for each output, or that of a single output."""
    body = json.dumps({"signature_name": signature, "inputs": columns}).encode()
    with urllib.request.urlopen(f"{url}:predict", body, timeout=60) as response:
        return json.load(response)["outputs"]


signatures = get("/metadata")["metadata"]["signature_def"]["signature_def"]
print("signatures:", ", ".join(key for key in sorted(signatures) if not key.startswith("__")))
# A class-conditional flow takes a label for each row.
label = {"label": [0, 1]} if "label" in signatures["sample"]["inputs"] else {}

# One seed is one image; at a lower temperature images are more typical and less varied.
images = predict("sample", seed=[1, 2], temperature=[1.0, 0.7], **label)
height, width, channels = len(images[0]), len(images[0][0]), len(images[0][0][0])
print(f"2 samples of {height}x{width}x{channels}, first row of the first:", images[0][0])

density = predict("log_prob", images=images, **label)
print("log_prob, nats:", density["log_prob"], "bits/dim:", density["bits_per_dim"])

latents = predict("encode", images=images, **label)
back = predict("decode", latents=latents, **label)
print("decode(encode(images)) == images:", back == images)
