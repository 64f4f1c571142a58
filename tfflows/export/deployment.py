"""A model of the zoo as a folder for other programs: TensorFlow Serving, or those that run ONNX."""

import shutil
from pathlib import Path
from typing import Literal

from tfflows import zoo
from tfflows.errors import InputError
from tfflows.evaluation.calibration import load_calibration
from tfflows.export.bundle import write_bundle
from tfflows.export.onnx import export_onnx
from tfflows.export.saved_model import export
from tfflows.zoo import store

FORMATS = ("saved_model", "onnx")


def deploy(
    name: str,
    folder: str | Path,
    version: int | None = None,
    serving: bool = False,
    format: Literal["saved_model", "onnx"] = "saved_model",
) -> Path:
    """Writes `<folder>/<name>/<version>/`: a model for other programs, with its recipe and metrics.

    Args:
        name: the name of a trained model, or an address on the hub.
        folder: the root of the deployed models.
        version: number of the weights; by default that which `zoo.load` takes.
        serving: write configuration, docker-compose.yml and example requests to `folder` too.
        format: "saved_model", with the weights in Keras's format beside it, or "onnx".

    Returns:
        The version folder.

    Raises:
        InputError: there is no such format, or `serving` is asked for with ONNX.
        ExistsError: it exists already; with `serving` only where it holds another model than this one.
        StoreError: there is no such model, or its files are damaged.
    """
    if format not in FORMATS:
        raise InputError(f"format is {format!r}, expected one of {', '.join(map(repr, FORMATS))}")
    if serving and format == "onnx":
        raise InputError("TensorFlow Serving reads no ONNX: leave `serving` out, or export a SavedModel")
    artefact = zoo.artefact(name, version)
    stored, number = name.partition("@")[0].rpartition("/")[2], store.number(artefact)  # of the hub's addresses too
    target = Path(folder) / stored / str(number)
    if serving and target.is_dir() and _is_copy(target, artefact):
        write_bundle(folder)
        return target

    def write_onnx(partial: Path) -> None:
        for file in ("recipe.toml", "metrics.json"):
            shutil.copyfile(artefact / file, partial / file)
        flow = zoo.load(name, version)
        export_onnx(flow, partial, load_calibration(flow, artefact))

    def write(partial: Path) -> None:
        for file in store.manifest(artefact):
            (partial / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(artefact / file, partial / file)
        if not (partial / "saved_model.pb").exists():
            flow = zoo.load(name, version)
            export(flow, partial, load_calibration(flow, artefact))

    published = store.publish(target.parent, write_onnx if format == "onnx" else write, number)
    if serving:
        write_bundle(folder)
    return published


def _is_copy(target: Path, artefact: Path) -> bool:
    """Returns whether an exported folder holds every file of an artefact; the SavedModel may have been added."""
    store.verify(target)
    return store.manifest(artefact).items() <= store.manifest(target).items()
