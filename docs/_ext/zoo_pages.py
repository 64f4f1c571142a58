"""The zoo: a page with a table of all entries, from zoo/results.csv, and a page for every card zoo/<name>.md."""

import csv
import html
import re

from browser_zoo import entries
from repository_pages import DOCS, ROOT, with_site_links, write

FAMILIES = {
    "glow": "Glow",
    "maf": "MAF",
    "maf_conv": "MAF, convolutional",
    "neural_spline": "Neural spline flow",
    "nice": "NICE",
    "realnvp": "RealNVP",
}
DATASETS = {
    "digits": "Digits 8×8",
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "svhn_cropped": "SVHN",
    "celeb_a": "CelebA",
    "celeb_a_hq/256": "CelebA-HQ",
    "downsampled_imagenet/32x32": "ImageNet 32",
    "downsampled_imagenet/64x64": "ImageNet 64",
    "lsun/bedroom": "LSUN bedrooms",
}
INDEX = """# The zoo

{trained} trained models and {recipes} recipes. Click a heading to sort; lower bits/dim are better. Names in colour lead
to samples, learning curve, limits and terms. {{download}}`results.csv <../../zoo/results.csv>` has more columns.

```{{raw}} html
<div class="zoo-controls">
  <input type="search" id="zoo-filter" placeholder="Filter, for example: mnist glow" aria-label="Filter the table">
  <select id="zoo-family" aria-label="Family"><option value="">All families</option>{families}</select>
  <select id="zoo-dataset" aria-label="Data set"><option value="">All data sets</option>{datasets}</select>
  <label><input type="checkbox" id="zoo-trained" checked> with weights</label>
  <span id="zoo-count" role="status"></span>
</div>
<div class="zoo-scroll">
<table class="zoo-table" id="zoo-table">
<thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
</div>
```

*Bits/dim*: on the test split, the mean of 10 single-sample bounds. *IW*: the importance-weighted bound of 8 samples,
which is tighter; the figures of `maf_conv` are exact ([how they are measured](/concepts/bits_per_dim.md)).
*Published*: the paper's figure by the paper's own protocol; the card says where it comes from. *AUROC*: images of
Fashion-MNIST among those of MNIST, or the other way round, by the plain likelihood and by input complexity with PNG
([anomaly scores](/tutorials/anomaly_scores.md)); below 0.5 the strangers are taken for the more likely. Recipes
without weights are mostly the papers' models for larger data: `tfflows train NAME` trains them.

```{{toctree}}
:hidden:

{toctree}
```
"""
HEAD = [
    ("entry", "text", "Entry"),
    ("dataset", "text", "Data"),
    ("bits_per_dim", "number", "Bits/dim"),
    ("importance_bits_per_dim", "number", "IW"),
    ("published", "number", "Published"),
    ("weights", "number", "Weights"),
    ("seconds", "number", "Trained in"),
    ("auroc_likelihood", "number", "AUROC likelihood"),
    ("auroc_complexity_png", "number", "AUROC complexity"),
]
IMAGE = re.compile(r"!\[([^\]]*)\]\((\S+)\)")


def rows():
    """The rows of zoo/results.csv."""
    with (ROOT / "zoo" / "results.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _shown(column, row):
    value = row[column]
    if column == "entry":
        name = html.escape(value)
        label = f'<a href="{name}.html"><code>{name}</code></a>' if row["bits_per_dim"] else f"<code>{name}</code>"
        text = html.escape(row["description"])
        return f'{label}<span class="zoo-what" title="{text}">{text}</span>'
    if column == "dataset":
        return html.escape(DATASETS.get(value, value))
    if column == "weights" and value:
        return f"{int(value):,}"
    if column == "seconds" and value:
        return f"{int(value) / 60:.0f} min"
    return html.escape(value)


def _row(row):
    cells = "".join(
        f'<td class="zoo-{kind}" data-value="{html.escape(row[column])}">{_shown(column, row)}</td>'
        for column, kind, _ in HEAD
    )
    trained = "yes" if row["bits_per_dim"] else "no"
    return f'<tr data-family="{row["family"]}" data-dataset="{row["dataset"]}" data-trained="{trained}">{cells}</tr>'


def _options(values, titles):
    return "".join(f'<option value="{value}">{titles.get(value, value)}</option>' for value in sorted(values))


def index():
    """The page with the table."""
    table = rows()
    trained = [row["entry"] for row in table if row["bits_per_dim"]]
    head = "".join(
        f'<th class="zoo-{kind}" scope="col" data-kind="{kind}"><button>{title}</button></th>'
        for _, kind, title in HEAD
    )
    return INDEX.format(
        trained=len(trained),
        recipes=len(table),
        families=_options({row["family"] for row in table}, FAMILIES),
        datasets=_options({row["dataset"] for row in table}, DATASETS),
        head=head,
        rows="\n".join(map(_row, table)),
        toctree="\n".join(trained),
    )


def card(name):
    """The page of a card: its text, the pictures side by side."""
    source, page = ROOT / "zoo" / f"{name}.md", DOCS / "zoo" / f"{name}.md"
    text = with_site_links(source.read_text("utf-8"), source, page)
    text = re.sub(r"((?:^!\[.*\n)+)", lambda match: _figures(IMAGE.findall(match[1])), text, flags=re.MULTILINE)
    browser = (
        f'<a href="../browser.html?model={name}">Try it in the browser</a>, or load' if name in entries() else "Load"
    )
    use = f'{browser} it in Python:\n\n```python\nflow = tfflows.zoo.load("{name}")\n```\n\n'
    return text.replace("## Figures", use + "## Figures", 1)


def _figures(images):
    if len(images) == 1:
        return f":::{{image}} {images[0][1]}\n:alt: {images[0][0]}\n:class: card-picture\n:::\n"
    cells = "".join(f":::{{image}} {path}\n:alt: {alt}\n:::\n" for alt, path in images)
    return f"::::{{div}} card-pictures\n{cells}::::\n"


def _write_pages(app):
    write(DOCS / "zoo" / "index.md", index())
    for row in rows():
        if row["bits_per_dim"]:
            write(DOCS / "zoo" / f"{row['entry']}.md", card(row["entry"]))


def setup(app):
    app.connect("builder-inited", _write_pages, priority=100)
    return {"parallel_read_safe": True}
