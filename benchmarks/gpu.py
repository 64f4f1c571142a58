"""Training on one accelerator with JAX: step time, images/s, share of the matrix rate, peak memory.

    python benchmarks/gpu.py [--smoke]

Glow at 32x32x3 (3 levels of 32 steps, width 512) and RealNVP (2 levels, 8 blocks of 64 filters), batch 64, in float32
and mixed_bfloat16, Glow also with recomputation; each in a process of its own, since peak memory is that of a process.
The matrix rate is measured, by products of 4096x4096 matrices in the same precision; the model's FLOP are those of its
convolutions, three times the forward ones. `--smoke` runs small models, which shows on a CPU that all of it works;
memory is then null. Writes results/gpu.json (results/gpu_smoke.json).
"""

import argparse
import json
import os

from timing import fresh, write

RUN = '''
import json, sys, time
import jax, keras, numpy as np
from tfflows import Flow, models
sys.path.insert(0, "benchmarks")
from step_times import StepTimes

family, precision, recompute, smoke = json.loads(sys.argv[1])
keras.config.set_dtype_policy(precision)
shape, batch, steps = (32, 32, 3), 8 if smoke else 64, 3 if smoke else 50
size = {"num_levels": 2, "num_steps": 1, "width": 16} if smoke else {"num_levels": 3, "num_steps": 32, "width": 512}
if family == "glow":
    transform = models.glow(shape, 256, recompute=recompute, **size)
else:
    size = {"num_blocks": 1, "filters": 8} if smoke else {"num_blocks": 8, "filters": 64}
    transform = models.realnvp(shape, 256, num_levels=2, **size)
flow = Flow(transform, shape)
flow.compile("adam", jit_compile=True)
images = np.random.RandomState(0).randint(0, 256, (batch * steps, *shape)).astype("uint8")
start = time.perf_counter()
flow.fit(images[:batch], batch_size=batch, verbose=0)
first = time.perf_counter() - start

clock = StepTimes()
flow.fit(images, batch_size=batch, verbose=0, callbacks=[clock])
step = min(clock.times)

def walk(layer, pixels):
    """(FLOP of the convolutions for one image, pixels of its latent): every kernel meets every pixel of its level."""
    flop = 0
    for inner in getattr(layer, "layers", [])[::-1]:
        if type(inner).__name__ == "Squeeze":
            pixels //= 4
        inner_flop, pixels = walk(inner, pixels)
        flop += inner_flop
    if hasattr(layer, "conditioner"):
        kernels = [w for w in layer.conditioner.trainable_weights if len(w.shape) == 4]
        flop += sum(2 * pixels * int(np.prod(kernel.shape)) for kernel in kernels)
    return flop, pixels

flop = 3 * batch * walk(flow.transform, shape[0] * shape[1])[0]

side = 512 if smoke else 4096
dtype = "bfloat16" if precision == "mixed_bfloat16" else "float32"
a = jax.numpy.ones((side, side), dtype)
product = jax.jit(lambda a: a @ a)
product(a).block_until_ready()
rates = []
for _ in range(5):
    start = time.perf_counter()
    for _ in range(10):
        result = product(a)
    result.block_until_ready()
    rates.append(10 * 2 * side**3 / (time.perf_counter() - start))
device = jax.local_devices()[0]
memory = (device.memory_stats() or {}).get("peak_bytes_in_use")
print(json.dumps({
    "device": device.device_kind, "parameters": flow.count_params(), "first step, s": first, "step, s": step,
    "median step, s": float(np.median(clock.times)), "images/s": batch / step, "model FLOP/s": flop / step,
    "matrix FLOP/s": max(rates), "share of the matrix rate": flop / step / max(rates),
    "peak memory, MB": memory and memory / 1e6,
}))
'''


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="small models, for a CPU")
    smoke = parser.parse_args().smoke
    os.environ["KERAS_BACKEND"] = "jax"
    sides = {
        f"{family}, {precision}{', recomputed' if recompute else ''}": (family, precision, recompute, smoke)
        for family, recompute in (("glow", None), ("glow", "inverse"), ("realnvp", None))
        for precision in ("float32", "mixed_bfloat16")
    }
    write("gpu_smoke" if smoke else "gpu", {name: fresh(RUN, json.dumps(side)) for name, side in sides.items()})


if __name__ == "__main__":
    main()
