"""A model of the zoo as a folder that TensorFlow Serving reads."""

import shutil
from pathlib import Path

from tfflows import zoo
from tfflows.export.bundle import write_bundle
from tfflows.export.saved_model import export
from tfflows.zoo import store


def deploy(name: str, folder: str | Path, version: int | None = None, serving: bool = False) -> Path:
    """Writes `<folder>/<name>/<version>/`: a model's SavedModel, weights, recipe and metrics.

    Args:
        name: the name of a trained model.
        folder: the root of the deployed models.
        version: number of the weights; by default that which `zoo.load` takes.
        serving: write configuration, docker-compose.yml and example requests to `folder` too.

    Returns:
        The version folder.

    Raises:
        ExistsError: it exists already.
        StoreError: there is no such model, or its files are damaged.
    """
    artefact = zoo.artefact(name, version)

    def write(target: Path) -> None:
        for file in store.manifest(artefact):
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(artefact / file, target / file)
        if not (target / "saved_model.pb").exists():
            export(zoo.load(name, version), target)

    published = store.publish(Path(folder) / name, write, int(artefact.name))
    if serving:
        write_bundle(folder)
    return published
