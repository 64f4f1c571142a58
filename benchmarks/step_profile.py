"""Where Glow's training step spends its time: by kind of operation, as TensorFlow's profiler times each.

    python benchmarks/step_profile.py [--steps 10]

Model and batch are those of glow.py. The times are the operations' own, of all threads together, means over the steps;
what the executor does between operations is in none of them. Writes results/step_profile.json.
"""

import argparse
import collections
import tempfile
import time
from pathlib import Path

import tensorflow as tf
from glow import IMAGES, LEVELS, SHAPE, STEPS, WIDTH
from tensorflow.tsl.profiler.protobuf.xplane_pb2 import XSpace
from timing import write

from tfflows import Flow, models


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10)
    number = parser.parse_args().steps
    flow = Flow(models.glow(SHAPE, 256, num_levels=LEVELS, num_steps=STEPS, width=WIDTH), SHAPE)
    flow.compile("adam")
    flow.fit(IMAGES, verbose=0)
    data = iter(tf.data.Dataset.from_tensors(IMAGES).map(lambda x: (x, tf.zeros(len(IMAGES)))).repeat())
    flow.train_function(data)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            start = time.perf_counter()
            for _ in range(number):
                flow.train_function(data)
            elapsed = time.perf_counter() - start
        space = XSpace.FromString(next(Path(folder).rglob("*.xplane.pb")).read_bytes())
    times, counts = collections.Counter(), collections.Counter()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                kind = name.rpartition(":")[2].strip()
                if ":" in name and "::" not in name and not kind.startswith("__"):  # not the step itself
                    times[kind] += event.duration_ps / 1e9 / number
                    counts[kind] += 1 / number
    kinds = {kind: {"ms": ms, "operations": round(counts[kind])} for kind, ms in times.most_common(25)}
    total = {"ms": sum(times.values()), "operations": round(sum(counts.values()))}
    write("step_profile", {"step, ms, with the profiler": 1000 * elapsed / number, "in all": total, "kinds": kinds})


if __name__ == "__main__":
    main()
