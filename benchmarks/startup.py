"""How long users wait before anything happens: imports, loading, and the first step of training.

    python benchmarks/startup.py [--rounds 5]

Each figure is the least of several fresh processes, which take turns. The first step is from `fit` to its end with one
batch of 32 images of 32x32x3: tracing, compiling of the graph and the step itself, for a Glow of 3 levels and width
128 with K steps each; of realnvp_celeba, 56.7 million weights, with a batch of 16 images of 64x64x3. Writes
results/startup.json.
"""

import argparse

from timing import fresh, take_turns, write

TIMED = """
import json, sys, time
start = time.perf_counter()
{}
print(json.dumps(time.perf_counter() - start))
"""
PREPARED = "import json, sys, time\n{}\nstart = time.perf_counter()\n{}\nprint(json.dumps(time.perf_counter() - start))"

THEIRS = TIMED.format("import keras, tensorflow_probability as tfp; tfp.bijectors.Scale")
OURS = TIMED.format("import tfflows; tfflows.Flow, tfflows.layers, tfflows.zoo")
LOAD = PREPARED.format("import tfflows; tfflows.Flow", "tfflows.zoo.load(sys.argv[1])")
FIRST_STEP = PREPARED.format(
    """
import numpy as np
from tfflows import Flow, models
arguments = {"num_levels": 3, "num_steps": int(sys.argv[1]), "width": 128}
flow = Flow(models.glow((32, 32, 3), 256, **arguments), (32, 32, 3))
flow.compile("adam")
images = np.random.RandomState(0).randint(0, 256, (32, 32, 32, 3)).astype("uint8")
flow.adapt(images)
""",
    "flow.fit(images, batch_size=32, epochs=1, verbose=0)",
)

FIRST_STEP_OF_AN_ENTRY = PREPARED.format(
    """
import numpy as np
from tfflows import zoo
from tfflows.zoo.builder import compile_flow
recipe = zoo.recipe(sys.argv[1])
flow = zoo.build(recipe)
compile_flow(flow, recipe.train, 1000)
images = np.random.RandomState(0).randint(0, 256, (16, *recipe.data.shape)).astype("uint8")
flow.adapt(images)
""",
    "flow.fit(images, batch_size=16, epochs=1, verbose=0)",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    imports = {"keras and tensorflow_probability": lambda: fresh(THEIRS), "tfflows": lambda: fresh(OURS)}
    first = {f"K = {steps}": lambda steps=steps: fresh(FIRST_STEP, steps) for steps in (8, 32)}
    first["realnvp_celeba"] = lambda: fresh(FIRST_STEP_OF_AN_ENTRY, "realnvp_celeba")
    loads = {name: lambda name=name: fresh(LOAD, name) for name in ("glow_mnist", "glow_digits")}
    results = {
        "import": take_turns(imports, rounds, warmup=1),
        "zoo.load": take_turns(loads, rounds, warmup=0),
        "first step": take_turns(first, max(1, rounds // 2), warmup=0),
    }
    write("startup", results)


if __name__ == "__main__":
    main()
