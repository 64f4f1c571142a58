"""The zoo: models by name, as recipes, as untrained flows and as trained ones.

A name is that of a recipe in the zoo, or of weights that you trained with a recipe of your own.
"""

import difflib
import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfflows.errors import CorruptError, InputError, NotFoundError, NotTrainedError
from tfflows.zoo import store
from tfflows.zoo.folders import packaged_folder
from tfflows.zoo.recipe import Recipe

if TYPE_CHECKING:
    from tfflows.flow import Flow

__all__ = ["Recipe", "artefact", "build", "list_models", "load", "metrics", "recipe"]


def list_models(pattern: str = "*", trained: bool | None = None) -> list[str]:
    """Returns the sorted names of the models.

    Args:
        pattern: shell wildcard, as `"realnvp_*"`.
        trained: True for those whose weights are on this machine, False for those whose are not, None for all.
    """
    weights = set(store.names())
    known = weights.union(path.stem for path in packaged_folder("zoo").glob("*.toml"))
    return sorted(name for name in known if fnmatchcase(name, pattern) and trained in (None, name in weights))


def recipe(name: str) -> Recipe:
    """Returns the recipe of a model.

    Raises:
        NotFoundError: there is no such model; the message suggests the nearest name.
    """
    path = _recipe_path(name)
    return Recipe.from_toml(path if path.is_file() else _find(name) / "recipe.toml")


def build(entry: str | Recipe, seed: int = 0) -> "Flow":
    """Returns an untrained flow.

    Args:
        entry: the name of a model, or a recipe.
        seed: of the noise of training; `keras.utils.set_random_seed` governs the initial weights.
    """
    # Keras is imported here, not above, so that names can be listed without it.
    from tfflows.zoo import builder

    return builder.build(entry if isinstance(entry, Recipe) else recipe(entry), seed)


def load(name: str, version: int | None = None, weights: str | None = "trained") -> "Flow":
    """Returns a trained flow, compiled so that `fit`, `evaluate`, `sample` and the rest go on from here.

    The optimizer is the recipe's with a constant learning rate: a schedule ends with the run it belongs to.

    Args:
        name: the name of a model.
        version: number of the weights; by default the highest in the user's store, `$TFFLOWS_HOME`, or else
            of those that come with tfflows, or else those that its recipe publishes, which are downloaded once.
        weights: `"trained"`, or None for an untrained flow.

    Raises:
        NotTrainedError: there are no weights; the message names the command that trains them.
        NotFoundError: there is no such model or version.
        CorruptError: a file of the weights is missing or altered.
        DownloadError: they are published and cannot be had.
    """
    from tfflows.zoo import builder

    if weights not in ("trained", None):
        raise InputError(f"weights is {weights!r}, expected 'trained' or None")
    if weights is None:
        entry = recipe(name)
        flow = builder.build(entry)
    else:
        folder = artefact(name, version)
        entry = Recipe.from_toml(folder / "recipe.toml")
        flow = builder.build(entry)
        flow.load_weights(folder / "model.weights.h5")
    builder.compile_flow(flow, entry.train)
    return flow


def artefact(name: str, version: int | None = None) -> Path:
    """Returns the verified folder with a model's weights, recipe and metrics; downloads and raises as `load` does."""
    folder = _find(name, version)
    store.verify(folder)
    return folder


def metrics(name: str, version: int | None = None) -> dict[str, Any]:
    """Returns the `metrics.json` of a model as a dict: test bits/dim, how it was measured, the learning curve."""
    folder = _find(name, version)
    try:
        return json.loads((folder / "metrics.json").read_text())
    except (OSError, ValueError) as error:
        path = folder / "metrics.json"
        raise CorruptError(f"{path} is missing or damaged: delete {folder} and write it again") from error


def _recipe_path(name: str) -> Path:
    return packaged_folder("zoo") / f"{store.check_name(name)}.toml"


def _find(name: str, version: int | None = None) -> Path:
    """Returns the folder of a model's weights; where there are none, those that its recipe publishes are downloaded."""
    path, known = _recipe_path(name), list_models()
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)
        raise NotFoundError(f"there is no model {name!r}: did you mean {nearest[0]!r}?")
    try:
        return store.find(name, version)
    except NotFoundError:
        published = Recipe.from_toml(path).weights if path.is_file() else None
        if published and version in (None, published.version):
            from tfflows.zoo.download import download

            return download(name, published)
        if name in store.names():
            raise
        if published:
            raise NotFoundError(f"{name} has no version {version}: {published.version} is published") from None
    raise NotTrainedError(
        f"{name} has no trained weights: train them with `tfflows train {name}`, "
        "or pass weights=None for an untrained model"
    )
