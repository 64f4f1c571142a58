"""The step of the build that puts recipes and trained weights into the wheel; setup.cfg names it.

zoo/ and saved_models/ lie beside the package in the repository and become tfflows/_zoo and tfflows/_saved_models in a
wheel. A mapping of folders in setup.cfg (package_dir) would do the same, but then an editable install finds the package
by a hook that comes after Python's own search, which takes the folder above a clone for an empty `tfflows`.
"""

import json
import shutil
from pathlib import Path

from setuptools.command.build_py import build_py

# Of every version folder what `zoo.load` and the command line read. SavedModels, which `tfflows export` makes, and the
# pictures of the model cards, with the cards, stay in the repository.
VERSION_FILES = ("*.toml", "*.json", "*.h5", "*.png")
FILES = {"zoo": ("*.toml",), "saved_models": ("*.md", *(f"*/[0-9]*/{pattern}" for pattern in VERSION_FILES))}


class BuildPy(build_py):
    """`build_py`, and the data of the zoo; an editable install reads them where they are."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        for folder, patterns in FILES.items():
            target = Path(self.build_lib, "tfflows", f"_{folder}")
            shutil.rmtree(target, ignore_errors=True)
            for path in (path for pattern in patterns for path in Path(folder).glob(pattern)):
                copy = target / path.relative_to(folder)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
            for manifest in target.glob("*/*/manifest.json"):
                sums = json.loads(manifest.read_text())["sha256"]
                held = {name: value for name, value in sums.items() if (manifest.parent / name).is_file()}
                manifest.write_text(json.dumps({"sha256": held}, indent=1) + "\n")
