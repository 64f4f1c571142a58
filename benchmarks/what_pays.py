"""What a second of training buys: variants of a small Glow on MNIST, each trained for the same time of one CPU core.

python benchmarks/what_pays.py [--seconds 90] [--only NAME ...] [--seed 0] [--results what_pays]

Every variant departs in one thing from the first: a Glow of two levels of 4 steps, width 48, affine couplings, learned
marginal Gaussianization, batches of 64, Adam at 2e-3 in float32. Each is trained in a process of its own with one
thread, for so many seconds of processor time, over which the learning rate falls to 0 as a cosine; tracing and the
first two steps come before. Reported are the bits/dim of 2,000 validation images, with one draw of the noise, of the
moving average of the weights. Writes results/what_pays.json, where each variant's row is replaced; README.md has the
table. Rows of machines that are not equally fast do not compare: give each machine a file of its own by --results.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"
BASE = {"coupling": "affine", "rescale": "gaussianize", "num_steps": 4, "width": 48, "bound": 3.0}
BASE |= {"batch_size": 64, "rate": 2e-3}
RESIDUAL = {"optimizer": "muon", "rate": 1.2e-2, "network": "residual", "width": 32}
VARIANTS = {
    "the first": {},
    "logits, alpha 1e-6": {"rescale": "logit", "alpha": 1e-6},
    "a Gaussianization for each pixel": {"per_pixel": True},
    "splines of 8 bins": {"coupling": "spline", "num_bins": 8},
    "splines of 16 bins": {"coupling": "spline", "num_bins": 16},
    "splines of 8 bins on [-5, 5]": {"coupling": "spline", "num_bins": 8, "bound": 5.0},
    "mixtures of 4 normals": {"coupling": "mixture", "num_components": 4},
    "variational dequantization": {"dequantizer": "variational"},
    "splines of 8 bins and variational dequantization": {
        "coupling": "spline",
        "num_bins": 8,
        "dequantizer": "variational",
    },
    "width 96": {"width": 96},
    "8 steps": {"num_steps": 8},
    "batches of 16": {"batch_size": 16},
    "batches of 32": {"batch_size": 32},
    "batches of 128": {"batch_size": 128},
    "learning rate 1e-3": {"rate": 1e-3},
    "learning rate 4e-3": {"rate": 4e-3},
    "learning rate 8e-3": {"rate": 8e-3},
    "bfloat16 in the networks": {"precision": "mixed_bfloat16"},
    "Muon": {"optimizer": "muon"},
    "Muon at 4e-3": {"optimizer": "muon", "rate": 4e-3},
    "Muon at 4e-3, mixtures of 4 normals": {
        "optimizer": "muon",
        "rate": 4e-3,
        "coupling": "mixture",
        "num_components": 4,
    },
    "Muon at 4e-3, splines of 8 bins": {"optimizer": "muon", "rate": 4e-3, "coupling": "spline", "num_bins": 8},
    "Muon at 8e-3": {"optimizer": "muon", "rate": 8e-3},
    "Muon at 1.2e-2, residual networks of width 32": RESIDUAL,
    "Muon at 1.2e-2, residual networks of width 32, splines of 8 bins": {
        **RESIDUAL,
        "coupling": "spline",
        "num_bins": 8,
    },
    "Muon at 1.2e-2, residual networks of width 32, mixtures of 4 normals": {
        **RESIDUAL,
        "coupling": "mixture",
        "num_components": 4,
    },
}


# The options of a variant that are arguments of `models.glow`; the others are of the training.
ARGUMENTS = (
    "coupling",
    "num_steps",
    "width",
    "num_bins",
    "bound",
    "num_components",
    "network",
    "rescale",
    "alpha",
    "per_pixel",
)


def small_glow(options):
    """The flow of a variant, 28x28x1."""
    from tfflows import Flow, models

    shape = (28, 28, 1)
    arguments = {name: options[name] for name in ARGUMENTS if name in options}
    dequantizer = models.variational(shape) if "dequantizer" in options else "uniform"
    return Flow(models.glow(shape, num_levels=2, **arguments), shape, dequantizer=dequantizer)


def train(options, seconds, seed):
    """Figures of a variant, in a process with one thread."""
    import keras

    from tfflows import data, zoo
    from tfflows.flow import optimizers
    from tfflows.training.run import precision

    described, batch_size = zoo.recipe("glow_mnist").data, options["batch_size"]
    images = data.arrays(described, "train")["image"]
    validation = data.arrays(described, "validation", 2000)["image"]
    keras.utils.set_random_seed(seed)
    with precision(options.get("precision", "float32")):
        flow = small_glow(options)
    name = options.get("optimizer", "adam")
    optimizer = optimizers.get(name, learning_rate=0.0, global_clipnorm=100.0, use_ema=True, ema_momentum=0.99)
    flow.compile(optimizer)

    class Budget(keras.callbacks.Callback):
        """The learning rate as a function of the processor time that is used up."""

        steps, start = 0, None

        def on_train_batch_begin(self, batch, logs=None):
            if self.steps == 2:
                self.start = time.process_time()
            used = 0.0 if self.start is None else (time.process_time() - self.start) / seconds
            optimizer.learning_rate.assign(options["rate"] * 0.5 * (1 + math.cos(math.pi * min(used, 1.0))))
            self.steps += 1
            if used >= 1:
                self.model.stop_training = True

    flow.adapt(images[:10_000])
    batches, _ = data.training_batches(described, batch_size, seed)
    budget = Budget()
    # Keras looks at `stop_training` after each epoch: epochs of ten steps.
    flow.fit(batches, steps_per_epoch=10, epochs=100_000, verbose=0, callbacks=[budget])
    return {
        "bits_per_dim": round(float(flow.bits_per_dim(validation).mean()), 4),
        "weights": flow.count_params(),
        "steps": budget.steps,
        "images per second": round(budget.steps * batch_size / seconds),
    }


def device():
    """The processor's name, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--results", default="what_pays", metavar="NAME", help="of the file in results/")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # in this process
    given = parser.parse_args()
    if given.here:
        (variant,) = given.only
        print(json.dumps(train({**BASE, **VARIANTS[variant]}, given.seconds, given.seed)))
        sys.exit()
    results = RESULTS / f"{given.results}.json"
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    for variant in given.only:
        command = [sys.executable, __file__, "--here", "--only", variant]
        command += ["--seconds", str(given.seconds), "--seed", str(given.seed)]
        printed = subprocess.run(
            command, env={**os.environ, **one_thread}, check=True, stdout=subprocess.PIPE, text=True
        )
        row = json.loads(printed.stdout.splitlines()[-1])
        print(f"{variant:50} {row}", flush=True)
        report = json.loads(results.read_text()) if results.is_file() else {"variants": {}}
        report |= {"device": device(), "seconds": given.seconds, "seed": given.seed}
        report["variants"][variant] = row
        results.write_text(json.dumps(report, indent=1) + "\n")
