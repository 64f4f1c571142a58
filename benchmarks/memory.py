"""Memory and time of a training step with and without recomputation, for Glows of two depths.

    python benchmarks/memory.py [--backend tensorflow]

Glow at 32x32x3 with 3 levels of K steps, width 128, batch 32, Adam, each in a process of its own. Growth is the
difference between the two depths for each of the 3 x (32 - 8) flow steps between them, of two figures:

activations: what a step of 32 images adds. On TensorFlow the peak of resident memory while it takes such steps over
that after a first step of one image, which leaves the graph, the optimizer's state and what tracing kept behind: none
of them depends on the batch. On JAX the temporary memory that XLA plans for the gradient.
process: the peak of resident memory while it takes steps, all that Python, graph and compiler hold included.

The images are noise, on which a deep Glow would soon diverge: hence the small learning rate. Writes
results/memory_<backend>.json.
"""

import argparse
import os

from timing import fresh, write

DEPTHS = (8, 32)
RUN = """
import ctypes, json, sys, threading
import keras, numpy as np
from tfflows import Flow, models
sys.path.insert(0, "benchmarks")
from step_times import StepTimes

num_steps, recompute = int(sys.argv[1]), json.loads(sys.argv[2])
shape, batch = (32, 32, 3), 32
on_jax = keras.backend.backend() == "jax"
transform = models.glow(shape, 256, num_levels=3, num_steps=num_steps, width=128, recompute=recompute)
flow = Flow(transform, shape)
flow.compile(keras.optimizers.Adam(1e-5), jit_compile=on_jax)
images = np.random.RandomState(0).randint(0, 256, (batch * 20, *shape)).astype("uint8")
flow.adapt(images[:batch])

def data(size):
    if on_jax:
        return {"x": images[: size * 20], "batch_size": size}
    import tensorflow as tf
    return {"x": tf.data.Dataset.from_tensor_slices(images).batch(size).take(20)}  # one graph for every batch size

def planned():
    import jax
    weights, states = flow.trainable_variables, flow.non_trainable_variables
    def loss(values, others):
        with keras.StatelessScope(state_mapping=list(zip([*weights, *states], [*values, *others]))):
            return -flow(images[:batch], training=True).mean()
    values = [[variable.value for variable in variables] for variables in (weights, states)]
    return jax.jit(jax.grad(loss)).lower(*values).compile().memory_analysis().temp_size_in_bytes / 1e6

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

clock = StepTimes()
flow.fit(**data(batch if on_jax else 1), verbose=0)
ctypes.CDLL(None).malloc_trim(0)  # what tracing and compiling freed would hide what the next steps take
before = peak = resident()
done = threading.Event()
def watch():
    global peak
    while not done.wait(0.002):
        peak = max(peak, resident())
thread = threading.Thread(target=watch, daemon=True)  # else an error would leave it running
thread.start()
flow.fit(**data(batch), verbose=0, callbacks=[clock])
done.set()
thread.join()
activations = planned() if on_jax else peak - before
print(json.dumps({"activations": activations, "process": peak,
                  "step": min(clock.times), "median step": float(np.median(clock.times))}))
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=("tensorflow", "jax"), default="tensorflow")
    backend = parser.parse_args().backend
    os.environ["KERAS_BACKEND"] = backend
    sides = {"stored": "null", "recomputed": '"inverse"'}
    runs = {name: {f"K = {depth}": fresh(RUN, depth, how) for depth in DEPTHS} for name, how in sides.items()}
    low, high = (f"K = {depth}" for depth in DEPTHS)
    steps = 3 * (DEPTHS[1] - DEPTHS[0])
    growth = {
        what: {name: (run[high][what] - run[low][what]) / steps for name, run in runs.items()}
        for what in ("activations", "process")
    }
    write(f"memory_{backend}", {"memory in MB, time in s": runs, "growth, MB per flow step": growth})


if __name__ == "__main__":
    main()
