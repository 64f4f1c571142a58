"""Training on data larger than memory: speed and peak memory against the same data in memory, and a killed run.

    python benchmarks/streaming.py [--number 50000] [--jax-python PATH]

Images of 64x64x3 are generated once as a folder of PNG files and as an .npz (50,000: 0.61 GB as an array), in a
temporary folder. Each side reads batches of 64 of them in a process of its own:

in memory       splits as arrays, as `tfflows.data` holds what is small
folder, .npz    from disk by Grain's worker processes, under TFFLOWS_IN_MEMORY_GB=0.1
tf.data         the PNG files by `read_file`, `decode_png`, `batch` and `prefetch`, as many at once as it likes

"while training" is the peak of resident memory beyond that of the imports, and the largest of a worker process.
Then `tfflows train` (a small NICE, two epochs) is killed in its second epoch and resumed: its weights are compared,
bit for bit, with those of a run that was not stopped and of one with the data in memory; with --jax-python the batches
are compared between the backends. Writes results/streaming.json.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from PIL import Image
from timing import fresh, write

BATCH = 64
SPEED = """
import json, os, resource, sys, time, zlib
from pathlib import Path
import numpy as np
import tfflows
from tfflows import data
from tfflows.zoo.recipe import DataConfig

side, path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3

def workers():
    found = [0.0]
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except OSError:
            continue
        if int(lines["PPid"]) == os.getpid() and "VmHWM" in lines:
            found.append(int(lines["VmHWM"].split()[0]) / 1e3)
    return max(found)

if tfflows.flow.flow.keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    tf.constant(0)
before, start = peak(), time.perf_counter()
if side == "tf.data":
    files = sorted(map(str, Path(path).glob("train/*.png")))
    def read(name):
        return {"image": tf.io.decode_png(tf.io.read_file(name), 3)}
    names = tf.data.Dataset.from_tensor_slices(files).shuffle(len(files), seed=0).repeat()
    batches = names.map(read, num_parallel_calls=tf.data.AUTOTUNE).batch(64).prefetch(tf.data.AUTOTUNE)
else:
    batches, _ = data.training_batches(DataConfig("images", (64, 64, 3), flip=True), 64, 0, path=path)
def endless():
    index = 0
    while True:
        yield batches[index]
        index += 1
reader = iter(batches) if hasattr(batches, "take") else endless()
checksum = 0
for _ in range(20):
    checksum = zlib.crc32(np.asarray(next(reader)["image"]).tobytes(), checksum)
first = time.perf_counter() - start
start = time.perf_counter()
for _ in range(count):
    next(reader)
seconds = time.perf_counter() - start
print(json.dumps({"seconds to 20 batches": first, "batches/s": count / seconds, "MB beyond imports": peak() - before,
                  "MB of a worker": workers(), "checksum": checksum}))
"""
RECIPE = """
name = "streamed"
description = "A small NICE."
[data]
dataset = "images"
shape = [64, 64, 3]
flip = true
[model]
family = "nice"
arguments = {num_couplings = 2, hidden = [64]}
[train]
epochs = 2
batch_size = 64
[evaluation]
num_draws = 10
num_importance_samples = 2
"""


def generate(folder, number):
    """Blurred noise, which compresses as photographs do: `<folder>/png/{train,validation,test}` and images.npz."""
    random = np.random.RandomState(0)
    parts = {"train": number, "validation": number // 50, "test": number // 50}
    arrays = {}
    for part, count in parts.items():
        (folder / "png" / part).mkdir(parents=True)
        arrays[part] = np.empty((count, 64, 64, 3), np.uint8)
        for index in range(count):
            small = Image.fromarray(random.randint(0, 256, (16, 16, 3), np.uint8))
            image = small.resize((64, 64), Image.Resampling.BICUBIC)
            image.save(folder / "png" / part / f"{index:06}.png", compress_level=1)
            arrays[part][index] = image
    np.savez(folder / "images.npz", **arrays)


def train(recipe, data, output, limit, kill=False):
    """Run the command; with `kill`, kill it in the second epoch and resume."""
    environment = {**os.environ, "TFFLOWS_IN_MEMORY_GB": limit}
    command = [sys.executable, "-m", "tfflows", "train", recipe, "--data", data, "--output", output]
    command = [*map(str, command), "--store-as", "streamed"]
    if kill:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (Path(output) / "streamed" / ".training" / "1").is_dir():
            time.sleep(0.1)
        time.sleep(1)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        command.append("--resume")
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    weights = {}
    with h5py.File(Path(output) / "streamed" / "1" / "model.weights.h5") as file:
        file.visititems(lambda name, node: weights.update({name: node[()]} if isinstance(node, h5py.Dataset) else {}))
    return weights, json.loads((Path(output) / "streamed" / "1" / "metrics.json").read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=50_000, help="of training images")
    parser.add_argument("--batches", type=int, default=600, help="that are timed")
    parser.add_argument("--folder", help="where the images are generated and kept; default a temporary folder")
    parser.add_argument("--jax-python", help="a Python with JAX, to compare the batches of the backends")
    arguments = parser.parse_args()
    size = arguments.number * 64 * 64 * 3 / 1e9
    limit = str(size / 6)
    results = {"images": arguments.number, "GB as an array": size}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        images = Path(arguments.folder or folder)
        png, npz = images / "png", images / "images.npz"
        if not npz.exists():
            generate(images, arguments.number)
        sides = {"in memory": (npz, "4"), "folder": (png, limit), ".npz": (npz, limit), "tf.data": (png, "4")}
        for side, (path, gigabytes) in sides.items():
            os.environ["TFFLOWS_IN_MEMORY_GB"] = gigabytes
            results[side] = fresh(SPEED, side, path, arguments.batches)
            if side != "tf.data" and arguments.jax_python:
                os.environ["KERAS_BACKEND"] = "jax"
                results[f"{side}, JAX"] = fresh(SPEED, side, path, arguments.batches, python=arguments.jax_python)
                del os.environ["KERAS_BACKEND"]
        checksums = {
            found.pop("checksum")
            for side, found in results.items()
            if isinstance(found, dict) and not side.startswith("tf.data")
        }
        results["one checksum of all batches but tf.data's"] = len(checksums) == 1
        recipe = folder / "recipe.toml"
        recipe.write_text(RECIPE)
        whole = train(recipe, npz, folder / "memory", "4")
        for name, path in {"folder": png, ".npz": npz}.items():
            weights, metrics = train(recipe, path, folder / name, limit, kill=True)
            equal = [np.array_equal(value, weights[key]) for key, value in whole[0].items()]
            results[f"{name}, killed and resumed"] = {
                "weights are those of memory, bit for bit": all(equal),
                "bits/dim - that of memory": metrics["bits_per_dim"] - whole[1]["bits_per_dim"],
            }
    results.get("tf.data", {}).pop("checksum", None)
    write("streaming", results)


if __name__ == "__main__":
    main()
