"""Writes what the repository tells of its models: zoo/<name>.md, zoo/README.md, zoo/results.csv and README.md's table.

python tools/model_cards.py

All figures are those of saved_models/: metrics.json, from training, and measured.json, from tools/measure_model.py and
tools/sample_quality.py. In a card the part between the two marks is written by hand, and kept.
"""

import json
from pathlib import Path
from types import SimpleNamespace

from tfflows.evaluation import robustness
from tfflows.zoo import store
from tfflows.zoo.recipe import Recipe
from tools import results

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->"
NOTABLE_SHARE = 0.01  # of sampled values outside of the range of pixels, from which on the card says so at the top
NOTES_BEGIN, NOTES_END = "<!-- written by hand -->\n", "<!-- end -->\n"
TERMS = {
    "digits": "The digits that ship with scikit-learn are the test set of E. Alpaydin and C. Kaynak's *Optical "
    "Recognition of Handwritten Digits*, UCI Machine Learning Repository, CC BY 4.0.",
    "mnist": "MNIST is Y. LeCun, C. Cortes and C. Burges's, made from NIST's Special Databases 1 and 3; it is "
    "distributed under CC BY-SA 3.0.",
    "fashion_mnist": "Fashion-MNIST is Zalando SE's (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747), MIT licence.",
}
CARD = """# {name}

{recipe.description}

| test bits/dim | importance-weighted, {importance_samples} | published | weights | trained for |
|---:|---:|---:|---:|---|
| **{metrics.bits_per_dim:.3f}** | {metrics.importance_bits_per_dim:.3f} | {published} | {size} | {time} |

![Samples at temperature 1](../saved_models/{name}/pictures/samples.png)
![Samples at temperature 0.7](../saved_models/{name}/pictures/samples_cooler.png)

Samples at temperature 1 and 0.7; below, test images at both ends and the straight lines between their latents.

![Interpolation](../saved_models/{name}/pictures/interpolation.png)

{bits_maps}## Figures

- Protocol: {metrics.protocol}; {metrics.num_images:,} images, split `{metrics.split}` of {metrics.data}.
{figures}- `tfflows evaluate {name}` measures them again, with the same seeds.
- Published: {recipe.paper.reference}. {recipe.paper.note}

## Model and training

- `{recipe.model.family}`: {arguments}; base {recipe.model.base}.
- Images {shape} in integers from 0 to {top}; {recipe.model.dequantizer} dequantization; trained on
  `{recipe.data.train}`{flip}, validated on `{recipe.data.validation}`.
- {epochs} epochs in batches of {recipe.train.batch_size}, {recipe.train.optimizer} at {recipe.train.learning_rate:g}
  ({recipe.train.schedule}), networks in {recipe.train.precision}, {averaged}, seed {metrics.seed}, {time} on
  {metrics.device}; kept are the weights of epoch {metrics.best_epoch}, which validated best.{storage}
- `tfflows show {name}` prints the recipe.

![Learning curve](../saved_models/{name}/pictures/learning_curve.png)

{quality}{anomaly}## Limits and uses

{outside}{notes}
## Numerical robustness

{robustness}
Round trip: the largest error of x -> z -> x in float32, in units of a grey value, x the middle of the pixels.
Photographs: patches of those that come with scikit-learn, in the grey values of the data set.

## Terms

{terms} The weights are under the licence of tfflows, Apache 2.0.
"""
BITS_MAPS = """Test images and the bits of their pixels (`flow.bits_map`): bright is where the model is surprised.

![Bits of each pixel](../saved_models/{name}/pictures/bits_maps.png)

"""
QUALITY = """## How good the samples look to a classifier

A small convolutional network, trained by `tools/sample_quality.py` on the training images, is right about
{accuracy:.1%} of the {num_test_images:,} test images. *Distance*: the Fréchet distance of its features to those of the
test images, smaller is better; *sure*: the share of images to whose likeliest class it gives 0.95 or more.

| images | number | distance | sure |
|---|---:|---:|---:|
{rows}

"""
ANOMALY = """## As a detector of anomalies

AUROC between the test images of {own} and of {other}, {count:,} each: the chance that an image of {other} has the
higher score (`tfflows.evaluation.scores`). 0.5 is guessing.

{table}

"""
ZOO = """# The zoo

One recipe `<name>.toml` for each entry; for those whose weights come with tfflows, a card `<name>.md` with figures,
pictures, limits and terms. This page and the cards are written by `python tools/model_cards.py` from the recipes and
from what was measured. *Bits/dim*: test split, mean of single-sample bounds; *IW*: importance-weighted bound of 8
samples, which is tighter (the figures of `maf_conv` are exact); *published*: where it comes from stands in the card.

{table}
AUROC: images of Fashion-MNIST among those of MNIST, or the other way round, by the plain likelihood and by
input complexity (PNG). Below 0.5 the likelihood takes the strangers for the more likely: known, and why there are
other scores. *Distance*, *sure*: samples at temperature 1 as a small classifier of the data set sees them, see the
cards; to be compared within a data set only.
"""


def names():
    """Models with weights in saved_models/."""
    return sorted(path.name for path in (ROOT / "saved_models").iterdir() if store.versions(path))


def load(name):
    """(recipe, metrics, measured) of the newest weights of a model."""
    parent = ROOT / "saved_models" / name
    measured = json.loads((parent / "measured.json").read_text())
    folder = parent / str(measured["version"])
    recipe = Recipe.from_toml(folder / "recipe.toml")
    return recipe, json.loads((folder / "metrics.json").read_text()), measured


def card(name):
    """The text of zoo/<name>.md."""
    recipe, metrics, measured = load(name)
    arguments = ", ".join(f"{key} = {value}" for key, value in recipe.to_dict()["model"]["arguments"].items())
    figures = []
    if "mixture_bits_per_dim" in metrics:
        figures.append(f"- p(x), the mixture of the classes: {metrics['mixture_bits_per_dim']:.3f} bits/dim.\n")
    if "logit_space_nats" in measured:
        figures.append(f"- In the paper's unit, nats of the logits: {measured['logit_space_nats']:.1f}.\n")
    bits_maps = ROOT / "saved_models" / name / "pictures" / "bits_maps.png"
    storage = " Kernels are stored as float16; the figures are those of what is stored." if "storage" in metrics else ""
    if "statistics" in metrics:
        storage += f" The statistics of batch normalisation were {metrics['statistics']}."
    return CARD.format(
        name=name,
        recipe=recipe,
        metrics=SimpleNamespace(**metrics),
        published=_published(recipe),
        importance_samples=f"{metrics['num_importance_samples']} samples".replace("1 samples", "1 sample"),
        size=f"{metrics['num_parameters']:,}",
        time=_time(metrics),
        figures="".join(figures),
        arguments=arguments or "default arguments",
        shape="x".join(map(str, recipe.data.shape)),
        top=recipe.data.num_values - 1,
        flip=" with random flips" if recipe.data.flip else "",
        epochs=len(metrics["history"]),
        averaged=f"weights averaged with decay {recipe.train.ema}" if recipe.train.ema else "no averaging",
        storage=storage,
        quality=_quality(measured),
        bits_maps=BITS_MAPS.format(name=name) if bits_maps.is_file() else "",
        anomaly=_anomaly(recipe, metrics, measured),
        outside=_outside(measured),
        notes=_notes(name),
        robustness=robustness.table(measured),
        terms=TERMS[recipe.data.dataset],
    )


def _outside(measured):
    """A warning where samples often have values that are no pixels."""
    share = measured["samples"]["outside"]
    if share < NOTABLE_SHARE:
        return ""
    return (
        f"**{share:.0%} of the values that this model draws lie outside of the range of pixels**: that much of its "
        "mass is on no image, and samples show these values clipped, as pure black or white.\n\n"
    )


def _quality(measured):
    if "sample_quality" not in measured:
        return ""
    found = measured["sample_quality"]
    training, count = found["training_images"], found["num_samples"]
    rows = [("samples at " + kind, count, row["frechet"], row["sure"]) for kind, row in found["samples"].items()]
    rows.append(("training images", training["count"], training["frechet"], training["sure"]))
    rows.append(("test images", found["num_test_images"], 0.0, found["sure_of_test"]))
    lines = [f"| {kind} | {number:,} | {distance:.2f} | {sure:.1%} |" for kind, number, distance, sure in rows]
    return QUALITY.format(**found, rows="\n".join(lines))


def _anomaly(recipe, metrics, measured):
    if "anomaly" not in measured:
        return ""
    rows = ["| score | AUROC |", "|---|---:|"]
    rows += [f"| {score} | {value:.3f} |" for score, value in measured["anomaly"]["auroc"].items()]
    titles = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
    own, other = titles[recipe.data.dataset], titles[measured["anomaly"]["other"]]
    return ANOMALY.format(own=own, other=other, count=metrics["num_images"], table="\n".join(rows))


def _notes(name):
    """The part of a card that is written by hand, with its marks."""
    path = ROOT / "zoo" / f"{name}.md"
    text = path.read_text("utf-8") if path.is_file() else ""
    notes = text.split(NOTES_BEGIN)[1].split(NOTES_END)[0] if NOTES_BEGIN in text else ""
    return NOTES_BEGIN + notes + NOTES_END


def _published(recipe):
    return "" if recipe.paper.bits_per_dim is None else f"{recipe.paper.bits_per_dim:.2f}"


def _time(metrics):
    return f"{metrics['seconds'] / 60:.0f} min"


def zoo_page():
    """The text of zoo/README.md."""
    rows = [
        "| entry | bits/dim | IW | published | weights | trained for | on | AUROC | complexity | distance | sure |",
        "|---|---:|---:|---:|---:|---:|---|---:|---:|---:|---:|",
    ]
    for name in names():
        recipe, metrics, measured = load(name)
        auroc = measured.get("anomaly", {}).get("auroc", {})
        of = [f"{auroc[key]:.3f}" if key in auroc else "" for key in ("likelihood", "input complexity, png")]
        bits = f"{metrics['bits_per_dim']:.3f} | {metrics['importance_bits_per_dim']:.3f} | {_published(recipe)}"
        size = f"{metrics['num_parameters']:,} | {_time(metrics)} | {metrics['device']}"
        looks = measured.get("sample_quality", {}).get("samples", {}).get("T = 1")
        of += [f"{looks['frechet']:.1f}", f"{looks['sure']:.0%}"] if looks else ["", ""]
        rows.append(f"| [{name}]({name}.md) | {bits} | {size} | {' | '.join(of)} |")
    return ZOO.format(table="\n".join(rows) + "\n")


def table():
    """The rows of the models with weights, as Markdown, for README.md."""
    rows = ["| entry | bits/dim | published | what it is |", "|---|---|---|---|"]
    for name in names():
        recipe, metrics, _ = load(name)
        measured = f"**{metrics['bits_per_dim']:.3f}**"
        rows.append(f"| [`{name}`](zoo/{name}.md) | {measured} | {_published(recipe)} | {recipe.description} |")
    return "\n".join(rows) + "\n"


def results_csv():
    """The text of zoo/results.csv."""
    recipes = [Recipe.from_toml(path) for path in sorted((ROOT / "zoo").glob("*.toml"))]
    measured = {name: load(name)[1:] for name in names()}
    return results.text(results.row(recipe, *measured.get(recipe.name, ())) for recipe in recipes)


def pages():
    """{path: text} of all that this program writes."""
    readme = ROOT / "README.md"
    head, rest = readme.read_text("utf-8").split(BEGIN)
    cards = {ROOT / "zoo" / f"{name}.md": card(name) for name in names()}
    zoo = {ROOT / "zoo" / "README.md": zoo_page(), ROOT / "zoo" / "results.csv": results_csv()}
    return {**cards, **zoo, readme: head + BEGIN + table() + END + rest.split(END)[1]}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
