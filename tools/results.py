"""The table of the zoo as a file: zoo/results.csv, one row for each recipe, made from what was measured.

`python tools/model_cards.py` writes it with the cards. Figures are those of saved_models/*/: metrics.json, from
training, and measured.json, from tools/measure_model.py; they are empty where a recipe has no weights yet.
"""

import csv
import io

COLUMNS = {
    "entry": "the name that `tfflows.zoo.load` takes",
    "family": "the model family",
    "dataset": "what it is trained on",
    "shape": "height x width x channels",
    "num_values": "the number of grey values",
    "conditional": "whether it is conditional on the class",
    "bits_per_dim": "test bits/dim, mean of single-sample bounds",
    "importance_bits_per_dim": "test bits/dim, importance-weighted bound",
    "num_importance_samples": "samples of that bound",
    "published": "bits/dim of the paper, by the paper's protocol",
    "protocol": "how bits_per_dim was measured",
    "num_images": "images that it was measured on",
    "split": "their split",
    "weights": "the number of weights",
    "seconds": "of training",
    "device": "that it was trained on",
    "anomalies": "the data set of the anomalies for the AUROCs",
    "auroc_likelihood": "AUROC of the likelihood",
    "auroc_typicality": "AUROC of typicality",
    "auroc_complexity_png": "AUROC of input complexity with PNG",
    "auroc_complexity_zlib": "AUROC of input complexity with zlib",
    "frechet": "Fréchet distance of samples at T = 1, by tools/sample_quality.py",
    "sure": "the share of these samples that its classifier is sure of",
    "description": "what it is",
}
SCORES = {
    "likelihood": "auroc_likelihood",
    "typicality": "auroc_typicality",
    "input complexity, png": "auroc_complexity_png",
    "input complexity, zlib": "auroc_complexity_zlib",
}


def row(recipe, metrics=None, measured=None):
    """{column: value} of a recipe and, where it has weights, of what was measured."""
    values = {
        "entry": recipe.name,
        "family": recipe.model.family,
        "dataset": recipe.data.dataset,
        "shape": "x".join(map(str, recipe.data.shape)),
        "num_values": recipe.data.num_values,
        "conditional": "yes" if recipe.model.conditional else "no",
        "published": "" if recipe.paper.bits_per_dim is None else f"{recipe.paper.bits_per_dim:.2f}",
        "description": recipe.description,
    }
    if metrics:
        values["bits_per_dim"] = f"{metrics['bits_per_dim']:.3f}"
        values["importance_bits_per_dim"] = f"{metrics['importance_bits_per_dim']:.3f}"
        values["weights"] = metrics["num_parameters"]
        values["seconds"] = f"{metrics['seconds']:.0f}"
        for key in ("num_importance_samples", "protocol", "num_images", "split", "device"):
            values[key] = metrics[key]
    anomaly = (measured or {}).get("anomaly", {})
    values["anomalies"] = anomaly.get("other", "")
    values |= {SCORES[score]: f"{value:.3f}" for score, value in anomaly.get("auroc", {}).items()}
    if quality := (measured or {}).get("sample_quality"):
        values |= {column: f"{quality['samples']['T = 1'][column]:.3f}" for column in ("frechet", "sure")}
    return {column: values.get(column, "") for column in COLUMNS}


def text(rows):
    """The rows as CSV with a line of column names."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()
