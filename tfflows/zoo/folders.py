"""Finds the data folders that lie beside the package in the repository and inside it in a wheel."""

from pathlib import Path


def packaged_folder(name: str) -> Path:
    """Returns the folder `zoo` or `saved_models`, from any kind of install.

    A wheel holds them as `tfflows/_zoo` and `tfflows/_saved_models` (see package_dir in setup.cfg). An
    editable install and a bare checkout do not: there they are `<repository>/zoo` and
    `<repository>/saved_models`. `importlib.resources` knows only the former.
    """
    package = Path(__file__).resolve().parents[1]
    inside = package / f"_{name}"
    return inside if inside.is_dir() else package.parent / name
