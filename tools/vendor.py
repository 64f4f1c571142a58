"""Copies what the site's pages load from npm packages into docs/_vendor/, so that it is built without the network.

    cd docs/_vendor && npm ci --ignore-scripts && cd ../.. && python tools/vendor.py

docs/_vendor/package.json names the versions, package-lock.json their checksums. To update: change a version, run
`npm install --ignore-scripts` in place of `npm ci`, then this program, and the test of the browser's zoo.
"""

import gzip
import re
import shutil
from pathlib import Path

VENDOR = Path(__file__).resolve().parents[1] / "docs" / "_vendor"
MODULES = VENDOR / "node_modules"
FONTS = "AMS-Regular Caligraphic-Regular Main-Bold Main-Italic Main-Regular Math-Italic Size1-Regular Size2-Regular "
FONTS += "Size3-Regular Size4-Regular"
FILES = {
    "katex": [
        "LICENSE",
        "dist/katex.min.css",
        "dist/katex.min.js",
        *(f"dist/fonts/KaTeX_{font}.woff2" for font in FONTS.split()),
    ],
    "onnxruntime-web": ["dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm"],
    "pako": ["LICENSE", "dist/pako_deflate.min.js"],
}


def copy(source, target):
    """Copies a file; WebAssembly is compressed (14 MB become 3.7 MB), and scripts name no source map."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".wasm":
        target.with_name(target.name + ".gz").write_bytes(gzip.compress(source.read_bytes(), 9, mtime=0))
    elif source.suffix in (".js", ".mjs"):
        text = re.sub(r"^//# sourceMappingURL=.*\n?", "", source.read_text("utf-8"), flags=re.MULTILINE)
        target.write_text(text, "utf-8")
    else:
        shutil.copyfile(source, target)


if __name__ == "__main__":
    for package, files in FILES.items():
        for file in files:
            copy(MODULES / package / file, VENDOR / package / file.removeprefix("dist/"))
