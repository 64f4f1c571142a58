"""The commands: each prints what a function of the package returns.

Only the commands that compute import TensorFlow, so that the others answer at once.
"""

import argparse
import dataclasses
import importlib.util
import json
import os
from pathlib import Path

from tfflows import zoo
from tfflows.errors import InputError, UnsupportedError
from tfflows.zoo import cache as downloads
from tfflows.zoo import store
from tfflows.zoo.archive import pack as pack_archive
from tfflows.zoo.recipe import Recipe, check_url

SERVING_MODULES = ("tensorflow_serving", "grpc", "starlette", "uvicorn", "prometheus_client")


def list_models(arguments: argparse.Namespace) -> None:
    """Prints the models, with their bits/dim where there are weights."""
    names = zoo.list_models(arguments.pattern)
    trained = set(zoo.list_models(arguments.pattern, trained=True))
    if not names:
        raise InputError(f"no model matches {arguments.pattern!r}: `tfflows list` shows all")
    width = max(map(len, names))
    print(f"{'name':{width}}  bits/dim  description")
    limited = False
    for name in names:
        recipe = zoo.recipe(name)
        figure = "download" if recipe.weights else "- "
        if name in trained:
            metrics = zoo.metrics(name)
            limited = limited or metrics["limit"]
            figure = f"{metrics['bits_per_dim']:.3f}{'*' if metrics['limit'] else ' '}"
        print(f"{name:{width}}  {figure:>8}  {recipe.description}")
    if limited:
        print("* trained and measured on a part of the data: tfflows train --limit")


def show(arguments: argparse.Namespace) -> None:
    """Prints the recipe and the figures of a model."""
    name = arguments.name
    if name not in zoo.list_models(trained=True):
        recipe = zoo.recipe(name)
        print(recipe.to_toml())
        if recipe.weights:
            print(f"# {recipe.weights.size / 1e6:,.1f} MB of weights are downloaded when they are first used")
        else:
            print(f"# no trained weights: tfflows train {name}")
        return
    folder = zoo.artefact(name, arguments.version)
    metrics = zoo.metrics(name, arguments.version)
    print(Recipe.from_toml(folder / "recipe.toml").to_toml())  # of these weights; the zoo's may have other epochs
    print(f"# {folder}\n# test bits/dim {metrics['bits_per_dim']:.4f}, {metrics['protocol']}")
    if metrics["limit"]:
        print(f"# trained and measured on at most {metrics['limit']:,} images of each split (--limit)")


def train(arguments: argparse.Namespace) -> None:
    """Trains a model."""
    is_file = arguments.name.endswith(".toml")
    recipe = Recipe.from_toml(Path(arguments.name)) if is_file else zoo.recipe(arguments.name)
    given = {key: getattr(arguments, key) for key in ("epochs", "batch_size", "precision")}
    changes = {key: value for key, value in given.items() if value is not None}
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, **changes))
    _import_tensorflow()
    from tfflows import training

    run = training.Run(recipe, seed=arguments.seed, limit=arguments.limit, path=arguments.data)
    folder = training.train(
        run,
        output=arguments.output,
        resume=arguments.resume,
        minutes=arguments.minutes,
        strategy=arguments.strategy,
        hosts=arguments.hosts,
        host_index=arguments.host_index,
    )
    if folder is None:
        if arguments.minutes is not None:
            print(f"stopped, since {arguments.minutes:g} minutes are over: go on with --resume")
        return
    metrics = json.loads((folder / "metrics.json").read_text())
    print(f"test bits/dim {metrics['bits_per_dim']:.4f}, {metrics['protocol']}\n{folder}")


def evaluate(arguments: argparse.Namespace) -> None:
    """Prints the bits/dim of trained weights."""
    recipe = Recipe.from_toml(zoo.artefact(arguments.name, arguments.version) / "recipe.toml")
    _import_tensorflow()
    from tfflows import data
    from tfflows.evaluation import evaluate

    images = data.arrays(recipe.data, arguments.split, arguments.limit, arguments.data)
    flow = zoo.load(arguments.name, arguments.version)
    result = evaluate(flow, images, recipe.evaluation, arguments.batch_size)
    source = data.version(recipe.data, arguments.data)
    print(
        f"{arguments.split} bits/dim {result['bits_per_dim']:.4f}, {result['protocol']}\n"
        f"{result['importance_bits_per_dim']:.4f} by the importance-weighted bound of "
        f"{result['num_importance_samples']} samples\n{result['num_images']:,} images of {source}"
    )
    if arguments.robustness:
        from tfflows.evaluation import robustness

        print("\n" + robustness.table(robustness.measure(flow, images)), end="")


def sample(arguments: argparse.Namespace) -> None:
    """Draws samples as a PNG file."""
    zoo.artefact(arguments.name, arguments.version)
    _import_tensorflow()
    from tfflows.evaluation.images import sample_images, save_png

    flow = zoo.load(arguments.name, arguments.version)
    images = sample_images(flow, arguments.num, arguments.temperature, arguments.seed, arguments.label)
    save_png(arguments.output, images, flow.num_values)
    print(arguments.output)


def export(arguments: argparse.Namespace) -> None:
    """Writes a SavedModel for TensorFlow Serving."""
    if not (zoo.artefact(arguments.name, arguments.version) / "saved_model.pb").exists():
        _import_tensorflow()
    from tfflows.export.deployment import deploy

    print(deploy(arguments.name, arguments.folder, arguments.version, serving=arguments.serving))


def serve(arguments: argparse.Namespace) -> None:
    """Serves models until it is interrupted."""
    folders = {name: zoo.artefact(name).parent for name in arguments.names}
    missing = [module for module in SERVING_MODULES if importlib.util.find_spec(module) is None]
    if missing:
        raise UnsupportedError(f"the server needs {', '.join(missing)}: pip install 'tfflows[serving]'")
    _import_tensorflow()
    from tfflows.serving.server import serve
    from tfflows.serving.service import Limits

    limits = Limits(arguments.max_batch, arguments.max_megabytes * 2**20, arguments.timeout)
    serve(folders, arguments.host, arguments.port, arguments.rest_port, limits)


def pack(arguments: argparse.Namespace) -> None:
    """Writes trained weights to a file for publishing."""
    urls = [check_url(url) for url in arguments.url]
    folder, path = zoo.artefact(arguments.name, arguments.version), Path(arguments.file)
    pack_archive(folder, path)
    print(f'[weights]\nversion = {folder.name}\nsize = {path.stat().st_size}\nsha256 = "{store.sha256(path)}"')
    print(f"urls = {json.dumps(urls or [path.resolve().as_uri()])}")


def cache(arguments: argparse.Namespace) -> None:
    """Lists or deletes what was downloaded."""
    if arguments.action == "clear":
        print(f"{downloads.clear(arguments.name) / 1e6:,.1f} MB freed")
        return
    for path, size in downloads.entries():
        if arguments.name in (None, path.parent.name):
            print(f"{size / 1e6:10,.1f} MB  {path}{'  (broken off)' if path.name.startswith('.') else ''}")


def _import_tensorflow() -> None:
    """Imports TensorFlow without what its libraries print as they load; they obey no setting."""
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ or importlib.util.find_spec("tensorflow") is None:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    stderr = os.dup(2)
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), 2)
    try:
        import tensorflow  # noqa: F401
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
