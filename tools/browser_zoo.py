"""Writes the models of the page docs/browser.md, where the zoo runs in the reader's browser: docs/_browser/models/.

    python tools/browser_zoo.py [NAME ...]

Each entry of ENTRIES gets `encode`, `decode` and `log_prob` as ONNX graphs that share one file of weights, all
compressed, and what the page says about it: its figures, and how the anomaly scores of test images are distributed.
`index.json` names them, with the checksum of the weights that they were made from.
"""

import gzip
import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx

from tfflows import data, zoo
from tfflows.evaluation import scores
from tfflows.export.onnx import export_onnx

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "_browser" / "models"
ENTRIES = ("glow_mnist_spline", "glow_digits_spline", "realnvp_digits", "glow_digits", "nice_digits")
FUNCTIONS = ("decode", "encode", "log_prob")
LARGE = 256  # bytes from which on a constant goes to the shared file of weights
NUM_IMAGES = 500  # test images at most, whose scores the page compares with
QUANTILES = np.linspace(0, 1, 41)


class Weights:
    """Constants of several graphs, each stored once."""

    def __init__(self):
        self.content, self.places = bytearray(), {}

    def take(self, model):
        """Moves the large constants of a graph here and returns the graph, which names their places."""
        for tensor in _constants(model):
            value = np.ascontiguousarray(onnx.numpy_helper.to_array(tensor)).tobytes()
            if len(value) < LARGE:
                continue
            place = self.places.get(value)
            if place is None:
                self.content.extend(bytes(-len(self.content) % 16))
                place = self.places[value] = len(self.content)
                self.content.extend(value)
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, entry in (("location", "weights.bin"), ("offset", place), ("length", len(value))):
                tensor.external_data.add(key=key, value=str(entry))
        return model


def _constants(model):
    yield from model.graph.initializer
    for node in model.graph.node:
        if node.op_type == "Constant":
            yield from (attribute.t for attribute in node.attribute if attribute.name == "value")


def write(name):
    """Writes the models of an entry; returns its record in the index."""
    flow, recipe, folder = zoo.load(name, weights="packaged"), zoo.recipe(name), zoo.artefact(name, packaged=True)
    weights, files = Weights(), {}
    with tempfile.TemporaryDirectory() as temporary:
        export_onnx(flow, temporary, names=FUNCTIONS)
        for function in FUNCTIONS:
            files[f"{function}.onnx"] = weights.take(
                onnx.load(Path(temporary) / f"{function}.onnx")
            ).SerializeToString()
    files = {"weights.bin": bytes(weights.content), **files}
    target, sizes = FOLDER / name, {}
    target.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        compressed = gzip.compress(content, 9, mtime=0)
        (target / f"{file}.gz").write_bytes(compressed)
        sizes[file] = len(compressed)
    images = {split: data.arrays(recipe.data, split)["image"][:NUM_IMAGES] for split in ("validation", "test")}
    entropy = float(scores.bits_per_dim(flow, images["validation"]).mean())
    measured = {
        "likelihood": scores.bits_per_dim(flow, images["test"]),
        "typicality": scores.typicality(flow, images["test"], entropy),
        "complexity": scores.input_complexity(flow, images["test"], coder="zlib"),
    }
    return {
        "name": name,
        "shape": list(flow.event_shape),
        "latent_shape": list(flow.latent_shape),
        "num_values": flow.num_values,
        "base": flow.base.kind,
        "bits_per_dim": round(zoo.metrics(name)["bits_per_dim"], 3),
        "description": recipe.description,
        "entropy": entropy,
        "quantiles": {score: np.quantile(values, QUANTILES).round(4).tolist() for score, values in measured.items()},
        "sizes": sizes,
        "sha256": hashlib.sha256((folder / "model.weights.h5").read_bytes()).hexdigest(),
    }


def main(names):
    """Writes the models of `names` and the index of all."""
    path = FOLDER / "index.json"
    for name in names or ENTRIES:
        written = write(name)
        known = {entry["name"]: entry for entry in json.loads(path.read_text())} if path.is_file() else {}
        known[name] = written
        print(f"{name}: {sum(written['sizes'].values()) / 1e6:.2f} MB", flush=True)
        index = [known[each] for each in ENTRIES if each in known]
        path.write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
