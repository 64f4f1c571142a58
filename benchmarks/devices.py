"""Weak scaling on the cores of one machine: a step of one device with 64 images against one of two with 128.

    python benchmarks/devices.py [--jax-python PATH]

The model of `glow_digits`. `--strategy mirrored` has two logical CPUs of TensorFlow in one process, `--hosts` two
processes with JAX; each device has one core, one device alone has one core too. "efficiency" is the time of one device
over that of two: 1 where the second costs nothing. Both cores share caches and memory, and mirrored devices a pool of
threads, so this shows that work is shared, and no more about GPUs. Writes results/devices.json.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from timing import write

STEPS = 30
RUN = """
import json, os, sys

how, number, index, hosts, steps = json.loads(sys.argv[1])
os.sched_setaffinity(0, [index] if how == "hosts" else range(number))
sys.path.insert(0, "benchmarks")
import keras, numpy as np
from step_times import StepTimes
from tfflows import data, zoo
from tfflows.training import devices
if how == "mirrored":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * number)
keras.utils.set_random_seed(0)
if how == "hosts":
    devices.join_hosts(hosts, index)
recipe, share = zoo.recipe("glow_digits"), (index, number if how == "hosts" else 1)
batches, _ = data.training_batches(recipe.data, 64 * number, 0, share=share)
with devices.strategy_scope("mirrored" if how == "mirrored" else None):
    flow = zoo.build(recipe)
    flow.compile("adam", jit_compile=how == "hosts")
clock = StepTimes()
flow.fit(batches, steps_per_epoch=steps, verbose=0, callbacks=[clock])
print(json.dumps(sorted(clock.times[5:])))
"""


def step(how, number, python):
    """Seconds of a training step with `number` devices."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    hosts = [f"127.0.0.1:{port + index}" for index in range(number)]
    environment = {**os.environ, "KERAS_BACKEND": "jax" if how == "hosts" else "tensorflow"}
    processes = []
    for index in range(number if how == "hosts" else 1):
        command = [python, "-c", RUN, json.dumps([how, number, index, hosts, STEPS])]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        root = Path(__file__).parents[1]
        processes.append(subprocess.Popen(command, env=environment, cwd=root, **pipes))
    outputs = [process.communicate() for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"a measured process failed:\n{outputs[-1][1]}")
    times = json.loads(outputs[0][0].splitlines()[-1])
    return {"min": times[0], "median": times[len(times) // 2]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jax-python", default=sys.executable, help="a Python with JAX; default this one")
    arguments = parser.parse_args()
    results = {}
    for how, python in {"mirrored": sys.executable, "hosts": arguments.jax_python}.items():
        one, two = (step(how, number, python) for number in (1, 2))
        efficiency = {which: one[which] / two[which] for which in one}
        results[how] = {"one device, s": one, "two devices, s": two, "efficiency": efficiency}
    write("devices", results)


if __name__ == "__main__":
    main()
