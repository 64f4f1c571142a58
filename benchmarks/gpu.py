"""One accelerator with JAX: step, log_prob and sample in images/s and shares of the matrix rate, memory, round trips.

    python benchmarks/gpu.py [--smoke | --plan]

The model of `glow_cifar10` (3 levels of 32 steps, width 512) and that of `maf_cifar10`, batches of 64, in float32, in
float32 with TF32 matrix products and in mixed_bfloat16, Glow also with recomputation; each in a process of its own,
since peak memory is that of a process. The matrix rate is measured, by products of 4096x4096 matrices in the same
precision; the model's FLOP are those of the matrix products and convolutions of its networks, in a training step three
times those of log_prob. The goal is a share of 0.4. The round trips are the largest error of decode(encode(x)), which
should be 0, and of x -> z -> x before it is rounded.

`--smoke` runs small models, which shows on a CPU that all of it works; memory is then null. `--plan` runs nothing: it
compiles the gradient and log_prob of the full models and writes what XLA's cost analysis says of them (FLOP, bytes that
they read and write, planned temporary memory), on this machine's backend. That is a plan and no measurement: programs
for a GPU are fused differently. Writes results/gpu.json (gpu_smoke.json, gpu_plan.json).
"""

import argparse
import json
import os

from timing import fresh, write

RUN = '''
import json, sys, time
import jax, keras, numpy as np
from keras import ops
from tfflows import Flow, models, zoo
sys.path.insert(0, "benchmarks")
from step_times import StepTimes

family, precision, recompute, mode = json.loads(sys.argv[1])
smoke, plan = mode == "smoke", mode == "plan"
if precision != "mixed_bfloat16":
    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if precision == "tf32" else "highest")
keras.config.set_dtype_policy("mixed_bfloat16" if precision == "mixed_bfloat16" else "float32")
shape, batch, steps = (32, 32, 3), 8 if smoke else 64, 3 if smoke else 50
small = {"glow": {"num_levels": 2, "num_steps": 1, "width": 16}, "maf": {"num_layers": 2, "hidden": [32]}}
recipe = zoo.recipe(f"{family}_cifar10")
arguments = dict(small[family] if smoke else recipe.model.arguments)
if recompute:
    arguments["recompute"] = recompute
flow = Flow(getattr(models, family)(shape, 256, **arguments), shape)
flow.compile("adam", jit_compile=True)
images = np.random.RandomState(0).randint(0, 256, (batch * steps, *shape)).astype("uint8")
one = images[:batch]

def walk(layer, pixels):
    """(FLOP of the networks for one image, pixels of its latent): a convolution meets every pixel of its level."""
    flop = 0
    for inner in getattr(layer, "layers", [])[::-1]:
        if type(inner).__name__ == "Squeeze":
            pixels //= 4
        inner_flop, pixels = walk(inner, pixels)
        flop += inner_flop
    if hasattr(layer, "conditioner"):
        for weight in layer.conditioner.trainable_weights:
            size = int(np.prod(weight.shape))
            flop += 2 * size * (pixels if len(weight.shape) == 4 else len(weight.shape) > 1)
    return flop, pixels

flop = batch * walk(flow.transform, shape[0] * shape[1])[0]
result = {"device": jax.local_devices()[0].device_kind, "parameters": flow.count_params(),
          "FLOP of the networks in log_prob": flop}

def program(gradient):
    weights, states = flow.trainable_variables, flow.non_trainable_variables
    def loss(values, others):
        with keras.StatelessScope(state_mapping=list(zip([*weights, *states], [*values, *others]))):
            return -ops.mean(flow(one, training=gradient))
    values = [[variable.value for variable in variables] for variables in (weights, states)]
    return jax.jit(jax.grad(loss) if gradient else loss).lower(*values).compile()

if plan:
    flow.adapted.assign(1)
    for what, gradient in (("gradient", True), ("log_prob", False)):
        compiled = program(gradient)
        cost = compiled.cost_analysis()
        cost = cost[0] if isinstance(cost, list) else cost
        result[what] = {"FLOP": cost["flops"], "bytes": cost["bytes accessed"],
                        "FLOP / FLOP of the networks": cost["flops"] / flop / (3 if gradient else 1),
                        "FLOP/byte": cost["flops"] / cost["bytes accessed"],
                        "planned temporary memory, MB": compiled.memory_analysis().temp_size_in_bytes / 1e6}
    print(json.dumps(result))
    sys.exit()

start = time.perf_counter()
flow.fit(one, batch_size=batch, verbose=0)
result["first step, s"] = time.perf_counter() - start

side = 512 if smoke else 4096
a = jax.numpy.ones((side, side), "bfloat16" if precision == "mixed_bfloat16" else "float32")
product = jax.jit(lambda a: a @ a)
product(a).block_until_ready()
rates = []
for _ in range(5):
    start = time.perf_counter()
    for _ in range(10):
        last = product(a)
    last.block_until_ready()
    rates.append(10 * 2 * side**3 / (time.perf_counter() - start))
result["matrix FLOP/s"] = max(rates)

clock = StepTimes()
flow.fit(images, batch_size=batch, verbose=0, callbacks=[clock])

def timed(function):
    function()
    times = []
    for _ in range(3 if smoke else 10):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return times

for what, times, passes in (
    ("step", clock.times, 3),
    ("log_prob", timed(lambda: flow.log_prob(one)), 1),
    ("sample", timed(lambda: flow.sample(batch, seed=0)), 1),
):
    best = min(times)
    result[what] = {"s": best, "median s": float(np.median(times)), "images/s": batch / best,
                    "share of the matrix rate": passes * flop / best / max(rates)}
memory = (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
result["peak memory, MB"] = memory and memory / 1e6
reals = one.astype("float32") + 0.5
z, _ = flow.transform.inverse_and_log_det(ops.convert_to_tensor(reals))
back, _ = flow.transform.forward_and_log_det(z)
result["decode(encode(x)): largest error, of integers and before rounding"] = [
    int(np.abs(flow.decode(flow.encode(one)).astype(int) - one).max()),
    float(np.abs(np.asarray(back) - reals).max()),
]
print(json.dumps(result))
'''


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--smoke", action="store_const", const="smoke", dest="mode", help="small models, for a CPU")
    modes.add_argument("--plan", action="store_const", const="plan", dest="mode", help="XLA's cost analysis alone")
    mode = parser.parse_args().mode or "full"
    os.environ["KERAS_BACKEND"] = "jax"
    precisions = ("float32",) if mode == "plan" else ("float32", "tf32", "mixed_bfloat16")
    sides = {
        f"{family}, {precision}{', recomputed' if recompute else ''}": (family, precision, recompute, mode)
        for family, recompute in (("glow", None), ("glow", "inverse"), ("maf", None))
        for precision in precisions
    }
    name = "gpu" if mode == "full" else f"gpu_{mode}"
    write(name, {side: fresh(RUN, json.dumps(arguments)) for side, arguments in sides.items()})


if __name__ == "__main__":
    main()
