"""Writes the cards of the models whose weights come with tfflows, zoo/<name>.md.

python tools/model_cards.py [--measure]

With --measure the numerical safety of the weights is measured first and stored beside them, in
saved_models/<name>/safety.json; without it the cards are written from what is stored.
"""

import argparse
import json
from pathlib import Path
from types import SimpleNamespace

from tfflows import data, safety, store, zoo
from tfflows.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
CARD = """# {name}

{recipe.description}

![Samples](../saved_models/{name}/{version}/samples.png)

- Test bits/dim **{metrics.bits_per_dim:.3f}**: {metrics.protocol}; {metrics.importance_bits_per_dim:.3f} by the
  importance-weighted bound of {metrics.num_importance_samples} samples; {metrics.num_images} images of {metrics.data}.
- {metrics.num_parameters:,} weights, trained for {epochs} epochs in {minutes:.1f} minutes on {metrics.device}, seed
  {metrics.seed}; kept are those of epoch {metrics.best_epoch}, which validated best.
- Paper: {recipe.paper.reference}. {recipe.paper.note}
- `tfflows show {name}` prints the recipe, `tfflows evaluate {name} --safety` measures the figures again.

## Numerical safety

{table}
Round trip: the largest error of x -> z -> x in float32, in units of a grey value, x the middle of the pixels.
Photographs: patches of those that come with scikit-learn, in the grey values of the data set.
"""


def names():
    """Models with weights in saved_models/."""
    return sorted(path.name for path in (ROOT / "saved_models").iterdir() if store.versions(path))


def safety_path(name):
    return ROOT / "saved_models" / name / "safety.json"


def measure(name):
    """Store the safety figures of the newest weights."""
    version = store.versions(ROOT / "saved_models" / name)[-1]
    test = data.arrays(zoo.recipe(name).data, "test")
    report = {"version": version, **safety.measure(zoo.load(name, version), test)}
    safety_path(name).write_text(json.dumps(report, indent=1) + "\n")


def card(name):
    """The text of zoo/<name>.md."""
    report = json.loads(safety_path(name).read_text())
    folder = ROOT / "saved_models" / name / str(report["version"])
    recipe = Recipe.from_toml(folder / "recipe.toml")
    metrics = json.loads((folder / "metrics.json").read_text())
    return CARD.format(
        name=name,
        recipe=recipe,
        version=report["version"],
        epochs=len(metrics["history"]),
        minutes=metrics["seconds"] / 60,
        metrics=SimpleNamespace(**metrics),
        table=safety.table(report),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--measure", action="store_true", help="measure numerical safety first")
    options = parser.parse_args()
    for name in names():
        if options.measure:
            measure(name)
        (ROOT / "zoo" / f"{name}.md").write_text(card(name), "utf-8")
