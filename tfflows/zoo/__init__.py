"""The zoo: models by name, as recipes, as untrained flows and as trained ones.

A name is that of a recipe in the zoo, of weights that you trained with a recipe of your own, or an address on the
Hugging Face hub, `hf://ORG/NAME[@REVISION]`. Weights that you trained go before those that come with tfflows; a run
that is not of the zoo's recipe as it stands gets a name of its own, see `stored_name`, so that it never takes the place
of an entry of the zoo.
"""

import dataclasses
import difflib
import json
import logging
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfflows.errors import CorruptError, InputError, NotFoundError, NotTrainedError
from tfflows.zoo import store
from tfflows.zoo.folders import packaged_folder
from tfflows.zoo.recipe import Recipe
from tfflows.zoo.removal import remove

if TYPE_CHECKING:
    from tfflows.flow import Flow

__all__ = [
    "Recipe",
    "artefact",
    "build",
    "is_address",
    "list_models",
    "load",
    "metrics",
    "origin",
    "push",
    "recipe",
    "remove",
    "stored_name",
]

_LOG = logging.getLogger("tfflows")


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
    if is_address(name):
        return Recipe.from_toml(_find(name) / "recipe.toml")
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
    """Returns a trained flow, compiled so that `fit` fine-tunes it.

    It is compiled with the recipe's kind of optimizer and `clip_norm`, at a constant learning rate of 3e-5, without a
    moving average of the weights, and its batch normalisation is frozen (`layer.trainable = False`): an epoch on a
    model's own training data then does not harm it. For other data or more change, set
    `flow.optimizer.learning_rate = 1e-3`, say, or call `flow.compile`. With `weights=None` the flow is compiled as its
    recipe says, at the recipe's highest learning rate, for training from scratch.

    Args:
        name: the name of a model, or an address on the hub.
        version: number of the weights; by default the highest in the user's store, `$TFFLOWS_HOME`, or else
            of those that come with tfflows, or else those at the recipe's address on the hub, downloaded once.
            Where both of the first have weights of this name, a message of the logger `tfflows` says which are taken.
        weights: `"trained"`; `"packaged"` for those that come with tfflows, whatever the user's store has; or None
            for an untrained flow.

    Raises:
        NotTrainedError: there are no weights; the message names the command that trains them.
        NotFoundError: there is no such model or version.
        CorruptError: a file of the weights is missing or altered.
        HubError: they are on the hub and cannot be had.
        InputError: the arguments contradict each other.
    """
    from tfflows.zoo import builder

    if weights not in ("trained", "packaged", None):
        raise InputError(f"weights is {weights!r}, expected 'trained', 'packaged' or None")
    if weights == "packaged" and is_address(name):
        raise InputError(
            f"weights is 'packaged' and {name} is on the hub: leave weights out, or give the name of a model"
        )
    if weights is None and version is not None:
        raise InputError(f"version is {version} and weights is None, of which there are no versions: leave one out")
    if weights is None:
        entry = recipe(name)
        flow = builder.build(entry)
    else:
        folder = artefact(name, version, packaged=weights == "packaged")
        if weights == "trained":
            _say_if_ambiguous(name, folder)
        entry = Recipe.from_toml(folder / "recipe.toml")
        flow = builder.build(entry)
        flow.load_weights(folder / "model.weights.h5")
    builder.compile_flow(flow, entry.train, fine_tuning=weights is not None)
    return flow


def artefact(name: str, version: int | None = None, packaged: bool = False) -> Path:
    """Returns the verified folder with a model's weights, recipe and metrics.

    Args:
        name: the name of a model, or an address on the hub.
        version: number of the weights; chosen and downloaded as `load` does.
        packaged: look at the weights that come with tfflows alone.

    Raises:
        StoreError: as `load`.
    """
    folder = _find(name, version, packaged)
    store.verify(folder)
    return folder


def origin(name: str, version: int | None = None) -> str | None:
    """Returns where the weights that `load` takes come from.

    Args:
        name: the name of a model.
        version: number of the weights.

    Returns:
        "yours" or "packaged"; None where there are no weights on this machine.

    Raises:
        NotFoundError: there is no such model.
    """
    try:
        folder = store.find(_known(name), version)
    except NotFoundError:
        if name in list_models():
            return None
        raise
    return "yours" if folder.parents[1] == store.home() else "packaged"


def stored_name(recipe: Recipe, limit: int | None = None, path: str | Path | None = None) -> str:
    """Returns the name under which the weights of a run are stored.

    It is the recipe's, with one exception: where that is the name of an entry of the zoo, and the run is of another
    recipe, limited to a part of the images or on other data, `.custom` follows.

    Args:
        recipe: what is trained.
        limit: of the images of each split, or None.
        path: of images that are used in place of the recipe's data set, or None.
    """
    packaged = _recipe_path(recipe.name)
    if not packaged.is_file():
        return recipe.name
    entry = dataclasses.replace(Recipe.from_toml(packaged), hub=None)
    faithful = limit is None and path is None and entry == dataclasses.replace(recipe, hub=None)
    return recipe.name if faithful else f"{recipe.name}.custom"


def metrics(name: str, version: int | None = None) -> dict[str, Any]:
    """Returns the `metrics.json` of a model as a dict: test bits/dim, how it was measured, the learning curve."""
    folder = _find(name, version)
    try:
        return json.loads((folder / "metrics.json").read_text())
    except (OSError, ValueError) as error:
        path = folder / "metrics.json"
        raise CorruptError(f"{path} is missing or damaged: delete {folder} and write it again") from error


def push(
    name: str, address: str, version: int | None = None, private: bool = False, license: str = "apache-2.0"
) -> str:
    """Uploads a model's weights, recipe, metrics and card to the Hugging Face hub.

    Args:
        name: the name of a model.
        address: `hf://ORG/NAME`; the repository is made if there is none.
        version: number of the weights; chosen as `load` does. It becomes the tag `v<version>`.
        private: whether a new repository is visible to its owners alone.
        license: of the weights, an identifier that the hub knows.

    Returns:
        The address with the tag, which `load` takes.

    Raises:
        HubError: the hub cannot be reached, or refuses.
        ExistsError: this version is there already.
    """
    from tfflows.zoo import hub

    return hub.push(artefact(name, version), address, private, license)


def is_address(name: str) -> bool:
    """Returns whether `name` is meant as an address on the hub."""
    return isinstance(name, str) and name.startswith("hf://")


def _recipe_path(name: str) -> Path:
    return packaged_folder("zoo") / f"{store.check_name(name)}.toml"


def _known(name: str) -> str:
    """Returns `name` if it is that of a model."""
    known = list_models()
    if store.check_name(name) not in known:
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(known)}"
        raise NotFoundError(f"there is no model {name!r}: {hint}")
    return name


def _say_if_ambiguous(name: str, folder: Path) -> None:
    """Logs which weights are loaded where the user's own have the name of some that come with tfflows."""
    if folder.parents[1] == store.home() and store.versions(packaged_folder("saved_models") / name):
        _LOG.warning(
            "loading %s from %s, which you trained; weights='packaged' loads the weights that come with tfflows, and "
            "`tfflows remove %s` deletes yours",
            name,
            folder,
            name,
        )


def _find(name: str, version: int | None = None, packaged: bool = False) -> Path:
    """Returns the folder of a model's weights; where there are none, those at the recipe's address are downloaded."""
    from tfflows.zoo import hub

    if is_address(name):
        if version is not None:
            raise InputError(f"{name} has its version after an @, as in {name.partition('@')[0]}@v{version}")
        return hub.fetch(name)
    path = _recipe_path(_known(name))
    if packaged:
        return store.find(name, version, (packaged_folder("saved_models"),))
    try:
        return store.find(name, version)
    except NotFoundError:
        if name in store.names():
            raise
        if version is None and (address := Recipe.from_toml(path).hub):
            return hub.fetch(address)
    relatives = list_models(f"{name.partition('_')[0]}_*", trained=True)
    others = f"; trained models of its family are {', '.join(relatives)}" if relatives else ""
    raise NotTrainedError(
        f"{name} has no trained weights: train them with `tfflows train {name}`, "
        f"or pass weights=None for an untrained model{others}"
    )
