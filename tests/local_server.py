"""`tfflows serve` as a process, with clients by both protocols."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import grpc
import tensorflow as tf
from tensorflow_serving.apis import model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc


class Server:
    """The process, and the addresses that it prints."""

    def __init__(self, home, *arguments):
        command = [sys.executable, "-m", "tfflows", "serve", *arguments, "--port", "0", "--rest-port", "0"]
        environment = os.environ | {"TFFLOWS_HOME": str(home), "CUDA_VISIBLE_DEVICES": ""}
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        found = re.search(r"gRPC on (\S+), REST on (\S+)", self.process.stdout.readline())
        self.grpc, self.rest = found.groups()
        self.channel = grpc.insecure_channel(self.grpc, options=[("grpc.max_send_message_length", -1)])
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, name, signature="", version=None, timeout=60, outputs=(), raw=None, **inputs):
        """The response to a PredictRequest, or to the bytes `raw` in its place."""
        if raw is not None:
            return self.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(raw, timeout=timeout)
        request = predict_pb2.PredictRequest(output_filter=outputs)
        request.model_spec.name, request.model_spec.signature_name = name, signature
        if version is not None:
            request.model_spec.version.value = version
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        return self.prediction.Predict(request, timeout=timeout)

    def http(self, path, body=None):
        """(status, JSON) of a GET, or of a POST with a body."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(self.rest + path, body, timeout=60) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def metric(self, start):
        """Sum of the metrics whose lines start so."""
        with urllib.request.urlopen(self.rest + "/metrics", timeout=60) as response:
            lines = response.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(start))

    def stop(self):
        self.channel.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.stdout.close()
        return self.process.wait(timeout=30)
