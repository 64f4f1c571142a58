"""Peak memory and time of a training step with and without recomputation, for Glows of two depths.

    python benchmarks/memory.py [--backend tensorflow]

Glow at 32x32x3 with 3 levels of K steps, width 128, batch 32, Adam, each in a process of its own. The peak is that of
the process's resident memory while it takes steps, after the first, whose tracing and compiling have their own peak.
Growth is the difference between the two depths for each of the 3 x (32 - 8) flow steps between them. The images are
noise, on which a deep Glow would soon diverge: hence the small learning rate. Writes results/memory_<backend>.json.
"""

import argparse
import os

from timing import fresh, write

DEPTHS = (8, 32)
RUN = """
import json, sys, threading, time
import keras, numpy as np
from tfflows import Flow, models

num_steps, recompute = int(sys.argv[1]), json.loads(sys.argv[2])
shape, batch = (32, 32, 3), 32
transform = models.glow(shape, 256, num_levels=3, num_steps=num_steps, width=128, recompute=recompute)
flow = Flow(transform, shape)
flow.compile(keras.optimizers.Adam(1e-5), jit_compile=keras.backend.backend() == "jax")
images = np.random.RandomState(0).randint(0, 256, (batch * 20, *shape)).astype("uint8")
flow.adapt(images[:batch])
flow.fit(images[:batch], batch_size=batch, verbose=0)

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

class Watch(keras.callbacks.Callback):
    times = []
    def on_train_batch_begin(self, batch, logs=None):
        self.start = time.perf_counter()
    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])
        self.times.append(time.perf_counter() - self.start)

peak, done = 0.0, threading.Event()
def watch():
    global peak
    while not done.wait(0.002):
        peak = max(peak, resident())
thread = threading.Thread(target=watch, daemon=True)  # else an error would leave it running
thread.start()
flow.fit(images, batch_size=batch, verbose=0, callbacks=[Watch()])
done.set()
thread.join()
print(json.dumps({"peak MB": peak, "step": min(Watch.times), "median step": float(np.median(Watch.times))}))
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
    growth = {name: (run[high]["peak MB"] - run[low]["peak MB"]) / steps for name, run in runs.items()}
    write(f"memory_{backend}", {"runs": runs, "growth, MB per flow step": growth})


if __name__ == "__main__":
    main()
