"""The zoo: models by name, as recipes, as untrained flows and as trained ones.

A name is that of a recipe in the zoo, or of weights that you trained with a recipe of your own.
"""

import difflib
import json
from fnmatch import fnmatchcase

from tfflows import store
from tfflows._folders import packaged_folder
from tfflows.recipe import Recipe, read_arguments


class NotTrainedError(store.NotFoundError):
    """The model is in the zoo but there are no weights of it."""


def list_models(pattern="*", trained=None):
    """Sorted names of the models.

    Args:
        pattern: shell wildcard, as `"realnvp_*"`.
        trained: True for those whose weights are on this machine, False for those whose are not.
    """
    weights = set(store.names())
    known = weights.union(path.stem for path in packaged_folder("zoo").glob("*.toml"))
    return sorted(name for name in known if fnmatchcase(name, pattern) and trained in (None, name in weights))


def recipe(name):
    """The `Recipe` of a model; an unknown name is a `store.NotFoundError` that suggests the nearest."""
    path = _recipe_path(name)
    return Recipe.from_toml(path if path.is_file() else _find(name) / "recipe.toml")


def build(entry, seed=0):
    """Return an untrained `Flow`.

    Args:
        entry: the name of a model, or a `Recipe`.
        seed: of the noise of training; `keras.utils.set_random_seed` governs the initial weights.
    """
    # Keras is imported here, not above, so that names can be listed without it.
    from tfflows.flow import Flow
    from tfflows.models import DEQUANTIZERS, MODELS
    from tfflows.prior import KINDS

    entry = entry if isinstance(entry, Recipe) else recipe(entry)
    data, model = entry.data, entry.model
    for key, known in (("family", MODELS), ("base", KINDS), ("dequantizer", ["uniform", *DEQUANTIZERS])):
        if (value := getattr(model, key)) not in known:
            raise ValueError(f"model.{key} is {value!r}, expected one of {', '.join(sorted(known))}")
    family = MODELS[model.family]
    arguments = read_arguments(family, model.arguments, "model.arguments")
    num_classes = data.num_classes if model.conditional else None
    dequantizer = model.dequantizer
    if dequantizer in DEQUANTIZERS:
        dequantizer = DEQUANTIZERS[dequantizer](data.shape, data.num_values)
    return Flow(
        family(data.shape, data.num_values, condition_size=num_classes or 0, **arguments),
        data.shape,
        num_values=data.num_values,
        base=model.base,
        dequantizer=dequantizer,
        num_classes=num_classes,
        seed=seed,
    )


def load(name, version=None, weights="trained"):
    """Return a trained `Flow`, compiled so that `fit`, `evaluate`, `sample` and the rest go on from here.

    The optimizer is the recipe's with a constant learning rate: a schedule ends with the run it belongs to.

    Args:
        name: the name of a model.
        version: number of the weights; by default the highest in the user's store, `$TFFLOWS_HOME`, or else
            of those that come with tfflows, or else those that its recipe publishes, which are downloaded once.
        weights: `"trained"`, or None for an untrained flow.

    Raises:
        NotTrainedError: there are no weights; the message names the command that trains them.
        store.NotFoundError: there is no such model or version.
        store.CorruptError: a file of the weights is missing or altered.
        download.DownloadError: they are published and cannot be had.
    """
    from tfflows.optimizers import compile_flow

    if weights not in ("trained", None):
        raise ValueError(f"weights is {weights!r}, expected 'trained' or None")
    if weights is None:
        entry = recipe(name)
        flow = build(entry)
    else:
        folder = artefact(name, version)
        entry = Recipe.from_toml(folder / "recipe.toml")
        flow = build(entry)
        flow.load_weights(folder / "model.weights.h5")
    compile_flow(flow, entry.train)
    return flow


def artefact(name, version=None):
    """The verified folder with a model's weights, recipe and metrics; downloads and raises as `load` does."""
    folder = _find(name, version)
    store.verify(folder)
    return folder


def metrics(name, version=None):
    """The `metrics.json` of a model as a dict: test bits/dim, how it was measured, the learning curve."""
    folder = _find(name, version)
    try:
        return json.loads((folder / "metrics.json").read_text())
    except (OSError, ValueError) as error:
        path = folder / "metrics.json"
        raise store.CorruptError(f"{path} is missing or damaged: delete {folder} and write it again") from error


def _recipe_path(name):
    return packaged_folder("zoo") / f"{store.check_name(name)}.toml"


def _find(name, version=None):
    """The folder of a model's weights; where there are none, those that its recipe publishes are downloaded."""
    path, known = _recipe_path(name), list_models()
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)
        raise store.NotFoundError(f"there is no model {name!r}: did you mean {nearest[0]!r}?")
    try:
        return store.find(name, version)
    except store.NotFoundError:
        published = Recipe.from_toml(path).weights if path.is_file() else None
        if published and version in (None, published.version):
            from tfflows.download import download

            return download(name, published)
        if name in store.names():
            raise
        if published:
            raise store.NotFoundError(f"{name} has no version {version}: {published.version} is published") from None
    raise NotTrainedError(
        f"{name} has no trained weights: train them with `tfflows train {name}`, "
        "or pass weights=None for an untrained model"
    )
