"""README.md says what is so: its table is the generated one, and its Python runs."""

import re
import runpy
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_table_is_up_to_date():
    assert runpy.run_path(str(ROOT / "tools" / "readme_table.py"))["with_table"](README) == README


def test_the_table_of_the_benchmarks_is_that_of_their_results():
    folder = ROOT / "benchmarks"
    text = (folder / "README.md").read_text("utf-8")
    assert runpy.run_path(str(folder / "report.py"))["with_table"](text) == text


def test_the_cards_of_trained_models_are_up_to_date():
    cards = runpy.run_path(str(ROOT / "tools" / "model_cards.py"))
    assert cards["names"]()
    for name in cards["names"]():
        assert (ROOT / "zoo" / f"{name}.md").read_text("utf-8") == cards["card"](name)


def test_the_ten_lines_run():
    """The first block of Python, as a reader would paste it."""
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["images"].shape == (16, 8, 8, 1)
    assert names["images"].dtype == np.uint8
    assert names["path"].shape == (1, 8, 8, 8, 1)
    assert np.all(np.isfinite(names["bits"]))


def test_every_file_it_links_to_is_there():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
