"""Loads `tfflows serve` with 64 clients at once: python tools/serving_load.py [NAME] [--requests 5000] [--clients 64]

Half of the requests go by REST and half by gRPC; 5 % are malformed, or broken off half-way. Every good answer is
compared with the flow's own log_prob, every malformed request must be refused with a client error, and the server's
memory is read after each fifth of the requests.
"""

import argparse
import json
import random
import re
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from tfflows import zoo

MALFORMED = 0.05


class Load:
    """Requests to a running server: `rest` and `rpc` are its addresses, `flow` the model that it serves as `name`."""

    def __init__(self, rest, rpc, name, flow, images):
        self.rest, self.name, self.images = rest, name, images
        self.expected = np.asarray(flow.log_prob(images))
        self.channel = grpc.insecure_channel(rpc)
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.malformed = [self._half_json, self._wrong_shape, self._out_of_range, self._no_protobuf, self._dropped]

    def request(self, number):
        """How request `number`, which fixes all that is random in it, ended: "right", "refused", or what went wrong."""
        draw = random.Random(number)
        try:
            if draw.random() < MALFORMED:
                return draw.choice(self.malformed)()
            rows = draw.sample(range(len(self.images)), draw.randint(1, 8))
            answer = self._by_rest(rows) if number % 2 else self._by_rpc(rows)
            return "right" if np.allclose(answer, self.expected[rows], rtol=1e-4, atol=1e-3) else "wrong answer"
        except (urllib.error.URLError, grpc.RpcError, OSError) as error:
            return f"lost: {error}"

    def _by_rest(self, rows):
        return json.loads(self._post(json.dumps({"inputs": self.images[rows].tolist()}).encode()))["outputs"][
            "log_prob"
        ]

    def _by_rpc(self, rows):
        return tf.make_ndarray(self.stub.Predict(self._message(self.images[rows]), timeout=60).outputs["log_prob"])

    def _post(self, body):
        with urllib.request.urlopen(f"{self.rest}/v1/models/{self.name}:predict", body, timeout=60) as response:
            return response.read()

    def _message(self, images):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self.name
        request.inputs["images"].CopyFrom(tf.make_tensor_proto(images))
        return request

    def _refused_by_rest(self, body):
        try:
            self._post(body)
        except urllib.error.HTTPError as error:
            with error:
                return "refused" if error.code == 400 and json.load(error)["error"] else f"status {error.code}"
        return "malformed and answered"

    def _refused_by_rpc(self, call, message):
        try:
            call(message, timeout=60)
        except grpc.RpcError as error:
            return "refused" if error.code() == grpc.StatusCode.INVALID_ARGUMENT else f"status {error.code()}"
        return "malformed and answered"

    def _half_json(self):
        return self._refused_by_rest(b'{"inputs": [[[1')

    def _out_of_range(self):
        return self._refused_by_rest(json.dumps({"inputs": (self.images[:1].astype(int) + 300).tolist()}).encode())

    def _wrong_shape(self):
        return self._refused_by_rpc(self.stub.Predict, self._message(self.images[:, 1:]))

    def _no_protobuf(self):
        call = self.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        return self._refused_by_rpc(call, b"\xff" * 50)

    def _dropped(self):
        host, port = self.rest.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            path = f"/v1/models/{self.name}:predict"
            connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{".encode())
        return "refused"


def run(load, process, requests=5000, clients=64):
    """(how many requests ended how, megabytes of the server after each fifth of them)."""
    endings, memory, lock = Counter(), [], threading.Lock()

    def one(number):
        ending = load.request(number)
        with lock:
            endings[ending] += 1
            if endings.total() % (requests // 5) == 0:
                memory.append(resident_megabytes(process))

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(one, range(requests)))
    return dict(endings), memory


def resident_megabytes(process):
    """Of a process on Linux; elsewhere 0."""
    if sys.platform != "linux":
        return 0
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) // 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", default="nice_digits", help="a trained model without labels")
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--clients", type=int, default=64)
    options = parser.parse_args()
    flow = zoo.load(options.name)
    images = np.random.RandomState(0).randint(0, flow.num_values, (200, *flow.event_shape)).astype(np.uint8)
    command = [sys.executable, "-m", "tfflows", "serve", options.name, "--port", "0", "--rest-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            rpc, rest = re.search(r"gRPC on (\S+), REST on (\S+)", server.stdout.readline()).groups()
            load = Load(rest, rpc, options.name, flow, images)
            endings, memory = run(load, server.pid, options.requests, options.clients)
        finally:
            server.terminate()
    print(f"{options.requests} requests of {options.clients} clients: {endings}; the server's MB: {memory}")
    sys.exit(0 if endings.keys() <= {"right", "refused"} else 1)


if __name__ == "__main__":
    main()
