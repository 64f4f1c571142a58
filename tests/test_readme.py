"""README.md says what is so: its table is the generated one, and its Python runs."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.backend_free
def test_the_table_of_the_benchmarks_is_that_of_their_results():
    folder = ROOT / "benchmarks"
    text = (folder / "README.md").read_text("utf-8")
    assert runpy.run_path(str(folder / "report.py"))["with_table"](text) == text


@pytest.mark.backend_free
def test_cards_and_tables_of_the_models_are_up_to_date():
    pages = runpy.run_path(str(ROOT / "tools" / "model_cards.py"))["pages"]()
    assert {ROOT / "README.md", ROOT / "zoo" / "README.md", ROOT / "zoo" / "realnvp_digits.md"} <= pages.keys()
    for path, text in pages.items():
        assert path.read_text("utf-8") == text, f"run tools/model_cards.py: {path} is not what it writes"


def test_the_ten_lines_run():
    """The first block of Python, as a reader would paste it."""
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["images"].shape == (16, 8, 8, 1)
    assert names["images"].dtype == np.uint8
    assert names["path"].shape == (1, 8, 8, 8, 1)
    assert np.all(np.isfinite(names["bits"]))


@pytest.mark.backend_free
def test_every_file_it_links_to_is_there():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
