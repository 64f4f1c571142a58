"""gRPC requests to a flow: pip install tensorflow-serving-api; python request_grpc.py NAME [HOST:PORT]"""

import sys

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

name = sys.argv[1]
channel = grpc.insecure_channel(
    sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1:8500",
    options=[("grpc.max_receive_message_length", 64 * 2**20)],  # gRPC's default, 4 MiB, is 21 images of 256x256x3
)
stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)


def predict(signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Returns outputs by name for inputs by name. `request.model_spec.version.value = 2` would ask for version 2."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    for key, value in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return {key: tf.make_ndarray(value) for key, value in stub.Predict(request, timeout=60).outputs.items()}


request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
request.model_spec.name = name
signatures = get_model_metadata_pb2.SignatureDefMap()
stub.GetModelMetadata(request, timeout=60).metadata["signature_def"].Unpack(signatures)
print("signatures:", ", ".join(key for key in sorted(signatures.signature_def) if not key.startswith("__")))
# A class-conditional flow takes a label for each row.
conditional = "label" in signatures.signature_def["sample"].inputs
label = {"label": np.array([0, 1], np.int32)} if conditional else {}

# One seed is one image; at a lower temperature images are more typical and less varied.
samples = predict("sample", seed=np.array([1, 2], np.int32), temperature=np.array([1.0, 0.7], np.float32), **label)
print("samples:", samples["images"].dtype, samples["images"].shape)

density = predict("log_prob", images=samples["images"], **label)
print("log_prob, nats:", density["log_prob"], "bits/dim:", density["bits_per_dim"])

latents = predict("encode", images=samples["images"], **label)["latents"]
back = predict("decode", latents=latents, **label)["images"]
print("decode(encode(images)) == images:", bool((back == samples["images"]).all()))
