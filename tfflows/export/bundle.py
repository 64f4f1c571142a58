"""What a deployment on TensorFlow Serving needs beside the exported models."""

import os
from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock

TEMPLATES = Path(__file__).resolve().parent / "templates"


def write_bundle(folder: str | Path) -> None:
    """Writes the files of a deployment into `folder`, which holds `<name>/<version>/` as `tfflows export` writes them.

    `models.config` lists every model of the folder that has a SavedModel, with all of its versions: it is written anew
    each time, so that one export after another adds to it. The other files do not depend on the models; those that
    exist already are left alone, since they may have been edited.

    Args:
        folder: the root of the deployed models.

    Raises:
        OSError: the folder cannot be written to.
    """
    folder = Path(folder)
    with FileLock(folder / ".lock"):
        models = [path.parent for path in folder.glob("*/*/saved_model.pb") if path.parent.name.isdecimal()]
        names = sorted({version.parent.name for version in models})
        _write(folder / "models.config", models_config(names))
        for template in sorted(TEMPLATES.iterdir()):
            if template.is_file() and not (folder / template.name).exists():
                _write(folder / template.name, template.read_text("utf-8"))


def models_config(names: Iterable[str]) -> str:
    """Returns the text of a ModelServerConfig.

    `all` serves every version; clients that name none get the highest.
    """
    entries = [
        f'  config {{\n    name: "{name}"\n    base_path: "/models/{name}"\n    model_platform: "tensorflow"\n'
        "    model_version_policy { all {} }\n  }\n"
        for name in names
    ]
    return f"model_config_list {{\n{''.join(entries)}}}\n"


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, "utf-8")
    os.replace(partial, path)
