"""Writes the table of the zoo in README.md from the recipes and the metrics of the weights in `saved_models/`.

python tools/readme_table.py
"""

import json
from pathlib import Path

from tfflows.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->"


def table():
    """The rows of all recipes, as Markdown."""
    rows = ["| entry | bits/dim | published | what it is |", "|---|---|---|---|"]
    for path in sorted((ROOT / "zoo").glob("*.toml")):
        recipe = Recipe.from_toml(path)
        versions = [int(folder.name) for folder in (ROOT / "saved_models" / recipe.name).glob("[0-9]*")]
        name, measured = f"`{recipe.name}`", ""
        if versions:
            name = f"[{name}](zoo/{recipe.name}.md)"
            metrics = ROOT / "saved_models" / recipe.name / str(max(versions)) / "metrics.json"
            measured = f"**{json.loads(metrics.read_text())['bits_per_dim']:.3f}**"
        published = "" if recipe.paper.bits_per_dim is None else f"{recipe.paper.bits_per_dim:.2f}"
        rows.append(f"| {name} | {measured} | {published} | {recipe.description} |")
    return "\n".join(rows) + "\n"


def with_table(text):
    """README's text with the table between its two marks made anew."""
    head, rest = text.split(BEGIN)
    return head + BEGIN + table() + END + rest.split(END)[1]


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text("utf-8")), "utf-8")
