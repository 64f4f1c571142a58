"""The documentation is true: tables are the generated ones, links lead somewhere, and every example runs."""

import doctest
import importlib
import importlib.util
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
WRITTEN = ("_build", "_vendor", "gallery", "project", "zoo")  # folders of docs/ that the site's build writes, and npm's
SITE = [path for path in (ROOT / "docs").rglob("*.md") if path.relative_to(ROOT / "docs").parts[0] not in WRITTEN]
PAGES = [*ROOT.glob("*.md"), *SITE, ROOT / "examples/README.md", ROOT / "benchmarks/README.md"]
BLOCKS = {
    f"{path.relative_to(ROOT)}, {number}": code
    for path in PAGES
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", path.read_text("utf-8"), re.DOTALL), 1)
}
# A tutorial is one program: its cells in turn, without the lines of options at their head.
CELL = re.compile(r"^```\{code-cell\}\n(?::.*\n)*(.*?)^```$", re.DOTALL | re.MULTILINE)
NOTEBOOKS = {f"{path.relative_to(ROOT)}": "\n".join(CELL.findall(path.read_text("utf-8"))) for path in SITE}
BLOCKS |= {page: code for page, code in NOTEBOOKS.items() if code}
ONCE = {code: page for page, code in reversed(BLOCKS.items())}  # where pages have the same, the first stands for all
BLOCKS = {page: code for code, page in ONCE.items()}
MODULES_WITH_EXAMPLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "tfflows").rglob("*.py"))
    if ">>> " in path.read_text("utf-8")
]


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


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A folder to work in, with the images that the pages speak of; MNIST is of tfds's own random images."""
    monkeypatch.chdir(tmp_path)
    if importlib.util.find_spec("matplotlib"):
        pyplot = importlib.import_module("matplotlib.pyplot")
        pyplot.switch_backend("agg")
        monkeypatch.setattr(pyplot, "show", lambda: pyplot.close("all"))
    flowers = tmp_path / "path" / "to" / "flowers"
    flowers.mkdir(parents=True)
    for index, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)):
        Image.fromarray(pixels).save(flowers / f"{index}.png")
    if not importlib.util.find_spec("tensorflow_datasets"):
        yield
        return
    import tensorflow_datasets as tfds

    with tfds.testing.mock_data(num_examples=64):
        yield


@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")
@pytest.mark.parametrize(
    "block", [pytest.param(block, marks=[pytest.mark.backend_free] * (block != "README.md, 1")) for block in BLOCKS]
)
def test_an_example_runs_as_a_reader_would_paste_it(block, reader):
    code = BLOCKS[block]
    if "tensorflow_datasets" in code:
        pytest.importorskip("tensorflow_datasets")
    names = {"__name__": "example"}
    exec(compile(code, block, "exec"), names)
    if block == "README.md, 1":
        assert names["images"].shape == (16, 8, 8, 1)
        assert names["images"].dtype == np.uint8
        assert names["path"].shape == (1, 8, 8, 8, 1)
        assert np.all(np.isfinite(names["bits"]))


@pytest.mark.backend_free
def test_readme_has_examples():
    assert sum(block.startswith("README.md") for block in BLOCKS) >= 3
    assert "CONTRIBUTING.md, 1" in BLOCKS


@pytest.mark.parametrize("module", MODULES_WITH_EXAMPLES)
def test_docstring_examples_give_what_they_say(module, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted
    assert result.failed == 0


@pytest.mark.backend_free
@pytest.mark.parametrize("page", [str(path.relative_to(ROOT)) for path in PAGES])
def test_every_file_it_links_to_is_there(page):
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text("utf-8"))
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


@pytest.mark.backend_free
def test_architecture_names_every_entry_of_the_package():
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    entries = {path for path in (ROOT / "tfflows").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    missing = [path.name for path in entries if path.name not in text and not path.name.startswith("__")]
    assert missing == []
