"""Sampling from a masked autoregressive flow: tfflows against TensorFlow Probability, nflows and zuko.

    python benchmarks/maf_sampling.py [--torch-python PATH] [--output maf_sampling.json]

Five MADEs with two hidden layers of 1024 and affine transformers on 784 dimensions, the order reversed between them, a
batch of 64, float32. Each library runs in a process of its own; nflows and zuko in that of `--torch-python`, for where
they are installed in another environment (extra `bench`). The time is the median of the runs after the first (of a run
beyond 20 s, that one), the better of a plain graph and XLA on TensorFlow.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

SIZE, BATCH, LAYERS, HIDDEN = 784, 64, 5, (1024, 1024)
SIDES = ("tfflows", "tfp", "nflows", "zuko")


def seconds(function, budget=20.0):
    """Median seconds of a call, after one that is not counted; of a call longer than the budget, that one's."""
    times = []
    while len(times) < 4 or (sum(times) < budget and len(times) < 20):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
        if times[-1] > budget:
            return times[-1]
    return statistics.median(times[1:])


def best_of_graphs(function, argument):
    """{"plain": s, "xla": s} of a function of one tensor."""
    import tensorflow as tf

    graphs = {name: tf.function(function, jit_compile=name == "xla") for name in ("plain", "xla")}
    return {name: seconds(lambda graph=graph: graph(argument).numpy()) for name, graph in graphs.items()}


def tfflows(degrees):
    import numpy as np
    import tensorflow as tf

    from tfflows import layers, nets

    parts = []
    for seed in range(LAYERS):
        made = nets.MADE(HIDDEN, degrees=degrees, seed=seed)
        parts += [layers.Autoregressive(made), layers.Permute("reverse")]
    flow = layers.Chain(parts)
    flow.build((None, SIZE))
    rng = np.random.default_rng(0)
    for weight in flow.trainable_weights:
        weight.assign(rng.normal(size=weight.shape) * 0.02)
    z = tf.constant(rng.normal(size=(BATCH, SIZE)), "float32")
    x = tf.function(flow.forward_and_log_det)(z)[0]
    return {
        "sample": best_of_graphs(lambda z: flow.forward_and_log_det(z)[0], z),
        "density pass": best_of_graphs(lambda x: flow.inverse_and_log_det(x)[0], x),
        "round-trip error": float(tf.reduce_max(tf.abs(flow.inverse_and_log_det(x)[0] - z))),
    }


def tfp(degrees):
    import tensorflow as tf
    from tensorflow_probability import bijectors as tfb

    parts = []
    for _ in range(LAYERS):
        net = tfb.AutoregressiveNetwork(
            params=2,
            event_shape=[SIZE],
            hidden_units=list(HIDDEN),
            activation="relu",
            hidden_degrees="equal" if degrees == "sequential" else "random",
            kernel_initializer=tf.keras.initializers.RandomNormal(stddev=0.02),
        )
        parts += [tfb.Permute(list(range(SIZE))[::-1]), tfb.MaskedAutoregressiveFlow(net)]
    flow = tfb.Chain(parts)
    z = tf.random.stateless_normal((BATCH, SIZE), (0, 0))
    flow.inverse(z)  # makes the weights
    return {
        # The constant makes a new tensor of each call, which the bijector's cache does not know.
        "sample": best_of_graphs(lambda z: flow.forward(z + 0.0), z),
        "density pass": best_of_graphs(lambda z: flow.inverse(z + 0.0), z),
    }


def nflows(degrees):
    import torch
    from nflows.transforms import CompositeTransform, MaskedAffineAutoregressiveTransform, ReversePermutation

    # Its MADE has `num_blocks` hidden layers after a first one, and neither residual blocks nor normalisation here.
    def layer():
        return MaskedAffineAutoregressiveTransform(
            SIZE,
            HIDDEN[0],
            num_blocks=len(HIDDEN) - 1,
            use_residual_blocks=False,
            random_mask=degrees == "random",
        )

    flow = CompositeTransform([part for _ in range(LAYERS) for part in (layer(), ReversePermutation(SIZE))]).eval()
    return _torch(lambda z: flow.inverse(z)[0], lambda x: flow(x)[0], torch.randn(BATCH, SIZE))


def zuko(degrees):
    import torch
    from zuko.flows import MAF

    # Its units have no degrees of their own: `randperm` draws the order of the dimensions instead.
    flow = MAF(SIZE, transforms=LAYERS, hidden_features=HIDDEN, randperm=degrees == "random")
    transform = flow().transform
    return _torch(transform.inv, transform, torch.randn(BATCH, SIZE))


def _torch(sample, density, z):
    import torch

    with torch.inference_mode():
        return {
            "sample": {"plain": seconds(lambda: sample(z))},
            "density pass": {"plain": seconds(lambda: density(z))},
        }


def measure(side, degrees, python):
    """What the side's function returns, from a process of its own, or {"error": ...}."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_USE_LEGACY_KERAS": "0"}
    command = [python, __file__, "--side", side, "--degrees", degrees]
    child = subprocess.run(command, capture_output=True, text=True, env=environment)
    if child.returncode:
        return {"error": child.stderr.strip().splitlines()[-1]}
    return json.loads(child.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", default=sys.executable, help="interpreter that has nflows and zuko")
    parser.add_argument("--output", default="maf_sampling.json")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--degrees", default="sequential", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(globals()[arguments.side](arguments.degrees)))
        return
    results = {}
    print(f"{'degrees':12}{'library':10}{'sample, s':>11}{'passes':>9}{'slower':>9}", flush=True)
    for degrees in ("sequential", "random"):
        for side in SIDES:
            python = sys.executable if side in ("tfflows", "tfp") else arguments.torch_python
            result = results[f"{side} {degrees}"] = measure(side, degrees, python)
            if "error" in result:
                print(f"{degrees:12}{side:10}  {result['error']}", flush=True)
                continue
            sample, density = (min(result[key].values()) for key in ("sample", "density pass"))
            ours = min(results[f"tfflows {degrees}"]["sample"].values())
            row = f"{degrees:12}{side:10}{sample:11.3f}{sample / density:9.1f}{sample / ours:8.1f}x"
            print(row, flush=True)
    with open(arguments.output, "w") as file:
        json.dump({"cores": os.cpu_count(), "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
