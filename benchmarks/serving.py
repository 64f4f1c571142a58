"""Latency and throughput of `tfflows serve`: python benchmarks/serving.py NAME [--seconds 5] [--clients 4]

Starts the server as a process of its own and sends it requests, by gRPC and by REST, with one client and with several.
Prints a Markdown table: median and 95th percentile of the latency of one client, the share of that client's time that
is the model's own (from the server's tfflows_model_seconds), images a second of one client and of several.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
import urllib.request

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

BATCHES = (1, 8, 64)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="a trained model without labels")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--clients", type=int, default=4, help="of the last column")
    arguments = parser.parse_args()

    command = [sys.executable, "-m", "tfflows", "serve", arguments.name, "--port", "0", "--rest-port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            found = re.search(r"gRPC on (\S+), REST on (\S+)", server.stdout.readline())
            table(arguments, *found.groups())
        finally:
            server.terminate()


def table(arguments, rpc, rest):
    print(f"{arguments.name} on {os.cpu_count()} cores, TensorFlow {tf.__version__}, {arguments.clients} clients\n")
    print("| protocol | endpoint | batch | median ms | 95 % ms | model's share | images/s | images/s, clients |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    for protocol, connect, address in (("gRPC", connect_rpc, rpc), ("REST", connect_rest, rest)):
        for endpoint in ("log_prob", "sample"):
            for batch in BATCHES:
                images = np.random.RandomState(0).randint(0, 2, size=(batch, *image_shape(rest, arguments.name)))
                inputs = {"images": images.astype(np.uint8)}
                if endpoint == "sample":
                    inputs = {"seed": np.arange(batch, dtype=np.int32), "temperature": np.ones(batch, np.float32)}
                client = connect(address, arguments.name, endpoint, inputs)
                measure(client, 0.5)
                before = model_seconds(rest)
                seconds = measure(client, arguments.seconds)
                share = (model_seconds(rest) - before) / sum(seconds)
                clients = [connect(address, arguments.name, endpoint, inputs) for _ in range(arguments.clients)]
                together = at_once(clients, arguments.seconds)
                median, high = statistics.median(seconds), np.percentile(seconds, 95)
                print(
                    f"| {protocol} | {endpoint} | {batch} | {1e3 * median:.1f} | {1e3 * high:.1f} | {share:.0%} "
                    f"| {batch * len(seconds) / sum(seconds):.0f} | {batch * together:.0f} |",
                    flush=True,
                )


def measure(client, seconds):
    """Seconds of each request of a client that sends one after another."""
    end, results = time.perf_counter() + seconds, []
    while (start := time.perf_counter()) < end:
        client()
        results.append(time.perf_counter() - start)
    return results


def at_once(clients, seconds):
    """Requests a second of several clients together."""
    counts = []
    threads = [threading.Thread(target=lambda c=c: counts.append(len(measure(c, seconds)))) for c in clients]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - start)


def connect_rpc(address, name, endpoint, inputs):
    channel = grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def client():  # building the request and reading the answer is part of what a client waits for
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = name, endpoint
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        return {key: tf.make_ndarray(value) for key, value in stub.Predict(request).outputs.items()}

    return client


def connect_rest(address, name, endpoint, inputs):
    def client():
        columns = {key: value.tolist() for key, value in inputs.items()}
        body = json.dumps({"signature_name": endpoint, "inputs": columns}).encode()
        with urllib.request.urlopen(f"{address}/v1/models/{name}:predict", body) as response:
            return json.load(response)["outputs"]

    return client


def image_shape(rest, name):
    with urllib.request.urlopen(f"{rest}/v1/models/{name}/metadata") as response:
        signatures = json.load(response)["metadata"]["signature_def"]["signature_def"]
    return [int(dim["size"]) for dim in signatures["log_prob"]["inputs"]["images"]["tensor_shape"]["dim"][1:]]


def model_seconds(rest):
    with urllib.request.urlopen(f"{rest}/metrics") as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("tfflows_model_seconds_sum"))


if __name__ == "__main__":
    main()
