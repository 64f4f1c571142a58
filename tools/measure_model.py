"""Measures what the card of a shipped model tells besides its test bits/dim, and draws its pictures.

python tools/measure_model.py [--bits-maps] NAME [NAME ...]

For the newest version in saved_models/<name>/ it writes measured.json (numerical robustness; for models of MNIST and
Fashion-MNIST the anomaly scores against the other of the two; for MAF the test log-likelihood in logit space, in
which its paper counts) and pictures/; with --bits-maps only the picture of the bits of single pixels.
tools/model_cards.py then writes the card.
"""

import json
import math
import sys
from pathlib import Path

import matplotlib
import numpy as np
from keras import ops

from tfflows import data, layers, plots, zoo
from tfflows._backend import noise
from tfflows.errors import UnsupportedError
from tfflows.evaluation import robustness, scores
from tfflows.evaluation.images import save_png
from tfflows.plots import sample_images
from tfflows.zoo import store

matplotlib.use("agg")
from matplotlib import pyplot as plt

SAVED_MODELS = Path(__file__).resolve().parents[1] / "saved_models"
OTHER = {"mnist": "fashion_mnist", "fashion_mnist": "mnist"}


def measure(name):
    """Write measured.json and pictures/ of the newest version of a model."""
    parent = SAVED_MODELS / name
    version = store.versions(parent)[-1]
    flow, recipe = zoo.load(name, version), zoo.recipe(name)
    test = data.arrays(recipe.data, "test")
    report = {"version": version, **robustness.measure(flow, test)}
    before = json.loads((parent / "measured.json").read_text()) if (parent / "measured.json").is_file() else {}
    if before.get("version") == version and "sample_quality" in before:  # of tools/sample_quality.py
        report["sample_quality"] = before["sample_quality"]
    if recipe.data.dataset in OTHER:
        report["anomaly"] = anomaly_scores(flow, recipe, test)
    if recipe.model.family == "maf":
        report["logit_space_nats"] = logit_space_nats(flow, test)
    pictures = parent / "pictures"
    pictures.mkdir(exist_ok=True)
    curve = plots.learning_curve(json.loads((parent / str(version) / "metrics.json").read_text())).figure
    curve.savefig(pictures / "learning_curve.png", dpi=100, metadata={"Software": None})
    save_png(pictures / "samples.png", sample_images(flow), flow.num_values)
    save_png(pictures / "samples_cooler.png", sample_images(flow, temperature=0.7), flow.num_values)
    save_png(pictures / "interpolation.png", *interpolation(flow, test))
    bits_maps(flow, test, pictures / "bits_maps.png")
    (parent / "measured.json").write_text(json.dumps(report, indent=1) + "\n")


def anomaly_scores(flow, recipe, test):
    """AUROC of each score between the test images of the model's data (inliers) and of the other data set."""
    other = OTHER[recipe.data.dataset]
    entropy = scores.bits_per_dim(flow, data.arrays(recipe.data, "validation")["image"]).mean()
    images = test["image"], data.arrays(zoo.recipe(f"nice_{other}").data, "test")["image"]
    bits = [scores.bits_per_dim(flow, each) for each in images]
    by = {
        "likelihood": bits,
        "typicality": [np.abs(each - entropy) for each in bits],
        **{
            f"input complexity, {coder}": [b - scores.code_length(i, coder) for b, i in zip(bits, images, strict=True)]
            for coder in scores.CODERS
        },
    }
    return {"other": other, "entropy": entropy, "auroc": {key: scores.auroc(*values) for key, values in by.items()}}


def logit_space_nats(flow, test):
    """Mean log-density of the logits of the dequantized test images, without the logit's own log-det.

    The logit is the model's, or else, since a density can be stated of any function of the image, that of the paper.
    """
    of_paper = layers.Logit(flow.num_values, alpha=1e-6)
    logit = next((layer for layer in flow.transform.layers if isinstance(layer, layers.Logit)), of_paper)
    image = test["image"]
    bits = flow.bits_per_dim(test if flow.num_classes else image)
    log_dets = []
    for start in range(0, len(image), 500):
        x = ops.convert_to_tensor(image[start : start + 500])
        keys = noise.fold(noise.image_keys(x), ops.cast(0, "uint32"), ops.cast(0, "uint32"))
        log_dets.append(ops.convert_to_numpy(logit.inverse_and_log_det(flow.dequantizer.dequantize(x, keys)[0])[1]))
    nats = -bits.astype("float64") * math.prod(flow.event_shape) * math.log(2) - np.concatenate(log_dets)
    return float(nats.mean())


def interpolation(flow, test):
    """Paths between six pairs of test images: the images for `save_png`, the number of values and of columns."""
    pairs, labels = test["image"][:12], None if flow.num_classes is None else test["label"][:6]
    path = flow.interpolate(pairs[:6], pairs[6:], num=9, condition=labels)
    return path.reshape(-1, *flow.event_shape), flow.num_values, 9


def bits_maps(flow, test, path, num=10):
    """Test images, and below each the bits of its pixels; nothing for flows that have none of single pixels."""
    images, labels = test["image"][:num], None if flow.num_classes is None else test["label"][:num]
    try:
        maps = flow.bits_map(images, labels, num_samples=16)
    except UnsupportedError:
        return
    low, high = np.quantile(maps, [0.002, 0.998])
    figure, panels = plt.subplots(2, num, figsize=(1.1 * num + 0.6, 2.35), layout="compressed")
    for above, below, image, bits in zip(*panels, images, maps, strict=True):
        above.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=flow.num_values - 1)
        drawn = below.imshow(bits, cmap="magma", vmin=low, vmax=high)
    for panel in panels.flat:
        panel.set(xticks=[], yticks=[])
    colorbar = figure.colorbar(drawn, ax=panels[1], label="bits", fraction=0.02, pad=0.01)
    colorbar.outline.set_visible(False)
    figure.savefig(path, dpi=100, metadata={"Software": None})
    plt.close(figure)


def only_bits_maps(name):
    """Draws the picture of the bits of single pixels of the newest version of a model."""
    flow = zoo.load(name, store.versions(SAVED_MODELS / name)[-1])
    test = data.arrays(zoo.recipe(name).data, "test", limit=10)
    bits_maps(flow, test, SAVED_MODELS / name / "pictures" / "bits_maps.png")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if sys.argv[1] == "--bits-maps":
        for model in sys.argv[2:]:
            only_bits_maps(model)
        sys.exit()
    for model in sys.argv[1:]:
        measure(model)
        print(SAVED_MODELS / model / "measured.json")
