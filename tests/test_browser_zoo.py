"""The zoo in the browser: models of the shipped weights, and a real Chromium that computes what Python does."""

import hashlib
import json
import shutil
import time
from pathlib import Path

import chromium
import numpy as np
import pytest

from tfflows import zoo
from tfflows.data.digits import load_digits
from tfflows.evaluation import scores

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "docs" / "_browser" / "models"
PAGE = """<!doctype html><link rel="icon" href="data:,"><div id="browser-zoo"></div>
<script type="module" src="_static/browser_zoo.js"></script>"""


def index():
    return json.loads((MODELS / "index.json").read_text("utf-8"))


@pytest.mark.backend_free
def test_the_models_are_those_of_the_weights_that_come_with_tfflows():
    for entry in index():
        weights = zoo.artefact(entry["name"], packaged=True) / "model.weights.h5"
        outdated = f"the weights of {entry['name']} have changed: run tools/browser_zoo.py {entry['name']}"
        assert entry["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest(), outdated
        for file, size in entry["sizes"].items():
            assert (MODELS / entry["name"] / f"{file}.gz").stat().st_size == size


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page in Chromium, as the site has it, without the site around it."""
    if not chromium.AVAILABLE:
        pytest.skip("drives Chromium, which is not installed with its driver")
    folder = tmp_path_factory.mktemp("site")
    for source in ("_static", "_vendor", "_browser"):
        shutil.copytree(ROOT / "docs" / source, folder / "_static", dirs_exist_ok=True)
    (folder / "index.html").write_text(PAGE)
    with chromium.Server(folder) as server, chromium.Browser() as browser:
        browser.open(server.url + "/index.html?model=nice_digits")
        deadline = time.monotonic() + 240
        while not browser.run("return window.browserZoo?.walked || window.browserZoo?.error || null"):
            assert time.monotonic() < deadline, "no samples and no error after four minutes"
            time.sleep(0.5)
        yield browser


@pytest.mark.backend_free
def test_samples_appear_and_can_be_walked_between(page):
    assert page.run("return window.browserZoo.error ?? null") is None
    assert page.errors() == []
    inked = page.run(
        "return [...document.querySelectorAll('.bz-tile canvas, .bz-path canvas')].map((canvas) => "
        "canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.filter((v) => v > 200).length)"
    )
    assert len(inked) == 24 + 9
    assert min(inked) > 64  # more than the opaque alpha channel of 8x8 pixels


def call(page, name, function, values, kind):
    """The result of a function of the page for an entry, with an array of its kind as the argument."""
    script = """
        const [name, call, values, kind] = arguments;
        return (async () => {
          const entry = (await window.browserZoo.index()).find((entry) => entry.name === name);
          const result = await window.browserZoo[call](entry, window[kind].from(values));
          return result.length === undefined ? result : [...result];
        })();
    """
    return page.run(script, name, function, np.asarray(values).ravel().tolist(), kind)


@pytest.mark.backend_free
@pytest.mark.parametrize("name", ["nice_digits", "glow_digits"])
def test_the_numbers_are_those_of_python(page, name):
    flow, images = zoo.load(name, weights="packaged"), load_digits("test")["image"][:4]
    z = call(page, name, "encode", images, "Uint8Array")
    np.testing.assert_allclose(z, flow.encode(images).ravel(), atol=2e-3)
    z = np.random.default_rng(0).normal(size=(8, 64)).astype("float32")
    x = call(page, name, "decode", z, "Float32Array")
    difference = np.abs(np.asarray(x) - flow.decode(z).ravel().astype(int))
    assert difference.max() <= 1  # a real value next to an integer may be rounded down to its neighbour
    assert np.mean(difference > 0) < 0.01
    entry = next(entry for entry in index() if entry["name"] == name)
    for image in images:
        found = call(page, name, "score", image, "Uint8Array")
        expected = {
            "likelihood": scores.bits_per_dim(flow, image[None]),
            "typicality": scores.typicality(flow, image[None], entry["entropy"]),
            "complexity": scores.input_complexity(flow, image[None], coder="zlib"),
        }
        assert found == {score: pytest.approx(float(value[0]), abs=1e-4) for score, value in expected.items()}


@pytest.mark.backend_free
def test_a_drawing_becomes_a_digit_with_three_scores(page):
    page.run(
        """
        const pad = window.browserZoo.page.pad, box = pad.getBoundingClientRect();
        pad.setPointerCapture = () => {};
        const event = (kind, x, y) => pad.dispatchEvent(new PointerEvent(kind, {
          clientX: box.left + x * box.width, clientY: box.top + y * box.height, pointerId: 1 }));
        event("pointerdown", 0.5, 0.2);
        event("pointermove", 0.5, 0.8);
        event("pointerup", 0.5, 0.8);
        """
    )
    deadline = time.monotonic() + 120
    while not (judged := page.run("return window.browserZoo.judged || null")):
        assert time.monotonic() < deadline, "no scores after two minutes"
        time.sleep(0.2)
    image = np.reshape(judged["image"], (8, 8))
    assert np.all(image[:, 3] + image[:, 4] > 8)  # a vertical stroke: it fills the height, and its sides are empty
    assert image[:, [0, 1, 6, 7]].max() == 0
    assert 1 < judged["likelihood"] < 6
