"""The commands: each prints what a function of the package returns.

Only the commands that compute import Keras and its backend, so that the others answer at once.
"""

import argparse
import dataclasses
import importlib.util
import json
import shlex
import sys
from pathlib import Path

from tfflows import zoo
from tfflows.errors import InputError, UnsupportedError, explained_os_errors
from tfflows.zoo import store
from tfflows.zoo.recipe import Recipe, split_address
from tfflows.zoo.removal import split_version

SERVING_MODULES = ("tensorflow_serving", "grpc", "starlette", "uvicorn", "prometheus_client")


def list_models(arguments: argparse.Namespace) -> None:
    """Prints the models, with the bits/dim of those that are trained."""
    names = zoo.list_models(arguments.pattern)
    trained = set(zoo.list_models(arguments.pattern, trained=True))
    if not names:
        raise InputError(f"no model matches {arguments.pattern!r}: `tfflows list` shows all")
    width = max(map(len, names))
    print(f"{'name':{width}}  bits/dim  weights     description")
    limited = False
    for name in names:
        recipe = zoo.recipe(name)
        figure = "on hub" if recipe.hub else "- "
        if name in trained:
            metrics = zoo.metrics(name)
            limited = limited or metrics["limit"]
            figure = f"{metrics['bits_per_dim']:.3f}{'*' if metrics['limit'] else ' '}"
        print(f"{name:{width}}  {figure:>8}  {zoo.origin(name) or '-':10}  {recipe.description}")
    if limited:
        print("* trained and measured on a part of the data: tfflows train --limit")


def show(arguments: argparse.Namespace) -> None:
    """Prints the recipe and the figures of a model, or the recipe of a file."""
    name = arguments.name
    if name.endswith(".toml"):
        print(Recipe.from_toml(Path(name)).to_toml())
        return
    if not zoo.is_address(name) and name not in zoo.list_models(trained=True):
        recipe = zoo.recipe(name)
        print(recipe.to_toml())
        print(f"# weights are downloaded from {recipe.hub}" if recipe.hub else f"# no weights: tfflows train {name}")
        return
    folder = zoo.artefact(name, arguments.version)
    metrics = zoo.metrics(name, arguments.version)
    print(Recipe.from_toml(folder / "recipe.toml").to_toml())  # of these weights; that of the zoo may differ
    print(f"# {folder}\n# test bits/dim {metrics['bits_per_dim']:.4f}, {metrics['protocol']}")
    if metrics["limit"]:
        print(f"# trained and measured on at most {metrics['limit']:,} images of each split (--limit)")


def train(arguments: argparse.Namespace) -> None:
    """Trains a model."""
    recipe = _recipe_to_train(arguments)
    _import_backend()
    from tfflows import training

    run = training.Run(recipe, arguments.seed, arguments.limit, arguments.data, arguments.store_as).named()
    if run.name != recipe.name and arguments.store_as is None:
        print(f"stored as {run.name}: this is not the zoo's {recipe.name} as it stands", flush=True)
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
    print(f"samples: {folder / 'samples.png'}")
    _print_next_steps(folder)


def _recipe_to_train(arguments: argparse.Namespace) -> Recipe:
    """Returns the recipe of the name or the file that was given, or one for the images of --data."""
    name = arguments.name
    if name is None and arguments.data is None:
        raise InputError("nothing to train: give the NAME of a model, a recipe.toml, or images with --data PATH")
    if name is not None and not arguments.model == arguments.size is None:
        raise InputError(f"--model and --size are for images without a recipe: leave {name} or the options out")
    if name is None:
        return _recipe_for_images(arguments)
    return _with_options(Recipe.from_toml(Path(name)) if name.endswith(".toml") else zoo.recipe(name), arguments)


def _recipe_for_images(arguments: argparse.Namespace) -> Recipe:
    """Returns a recipe for the images of --data, writes it beside the versions to come, and prints what was found."""
    _import_backend()
    from tfflows import data

    found = data.take_inventory(arguments.data)
    print(found)
    options = {key: getattr(arguments, key) for key in ("size", "epochs", "batch_size")}
    recipe = data.propose(found, arguments.model or "glow", arguments.store_as, **options)
    recipe = _with_options(recipe, arguments)
    folder = Path(arguments.output or store.home()).expanduser() / store.check_name(recipe.name)
    with explained_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "recipe.toml"
        path.write_text(recipe.to_toml(), "utf-8")
    height, width, _ = recipe.data.shape
    crop = f"cropped to {recipe.data.crop[0]}x{recipe.data.crop[1]}, " if recipe.data.crop else ""
    size = "as they are" if set(found.sizes) == {(height, width)} else f"{crop}resized to {height}x{width}"
    model = ", ".join(f"{key} {value}" for key, value in recipe.model.arguments.items())
    print(f"{recipe.name}: {recipe.model.family} ({model}), images {size}, batches of {recipe.train.batch_size}")
    print(
        f"recipe: {path}; to change it: edit a copy, and tfflows train COPY.toml --data {shlex.quote(arguments.data)}"
    )
    return recipe


def _with_options(recipe: Recipe, arguments: argparse.Namespace) -> Recipe:
    """Returns the recipe with what the options of the command line change."""
    given = {key: getattr(arguments, key) for key in ("epochs", "batch_size", "precision")}
    changes = {key: value for key, value in given.items() if value is not None}
    return dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, **changes))


def _print_next_steps(folder: Path) -> None:
    """Prints how to use the version in `folder`."""
    name, root = folder.parent.name, folder.parent.parent
    home = "" if root.resolve() == store.home().resolve() else f"TFFLOWS_HOME={shlex.quote(str(root))} "
    print(f"next: {home}tfflows sample {name} --output samples.png")
    print(f'      or in Python, tfflows.zoo.load("{name}"){f" with {home.strip()}" if home else ""}')


def evaluate(arguments: argparse.Namespace) -> None:
    """Prints the bits/dim of trained weights."""
    recipe = Recipe.from_toml(zoo.artefact(arguments.name, arguments.version) / "recipe.toml")
    _import_backend()
    from tfflows import data
    from tfflows.evaluation import evaluate

    path = arguments.data or zoo.metrics(arguments.name, arguments.version).get("path")
    images = data.batches(recipe.data, arguments.split, arguments.batch_size, arguments.limit, path)
    flow = zoo.load(arguments.name, arguments.version)
    result = evaluate(flow, images, recipe.evaluation, verbose=int(sys.stdout.isatty()))
    source = data.version(recipe.data, path)
    print(
        f"{arguments.split} bits/dim {result['bits_per_dim']:.4f}, {result['protocol']}\n"
        f"{result['importance_bits_per_dim']:.4f} by the importance-weighted bound of "
        f"{result['num_importance_samples']} samples\n{result['num_images']:,} images of {source}"
    )
    if arguments.robustness:
        from tfflows.evaluation import robustness

        limit = min(arguments.limit or robustness.LARGEST_COUNT, robustness.LARGEST_COUNT)
        images = data.arrays(recipe.data, arguments.split, limit, path)
        print("\n" + robustness.table(robustness.measure(flow, images)), end="")


def score(arguments: argparse.Namespace) -> None:
    """Writes the anomaly scores of the images of a folder, and a page of the strangest ones."""
    name, rate = arguments.name, arguments.false_alarm_rate
    folder = zoo.artefact(name, arguments.version)
    recipe = Recipe.from_toml(folder / "recipe.toml")
    _import_backend()
    from tfflows import data
    from tfflows.evaluation import calibration, verdicts

    paths, images = data.read_all(recipe.data, arguments.folder)
    flow = zoo.load(name, arguments.version)
    calibrated = calibration.load_calibration(flow, folder)
    if calibrated is None or arguments.score not in (None, calibrated.score):
        path = zoo.metrics(name, arguments.version).get("path")
        held_out = data.arrays(recipe.data, "validation", calibration.NUM_CALIBRATION, path)
        print(f"calibrating on {len(held_out['image']):,} validation images", flush=True)
        calibrated = calibration.calibrate(flow, held_out["image"], arguments.score or "bits_per_dim")
    names = [path.relative_to(Path(arguments.folder).expanduser()).as_posix() for path in paths]
    found = verdicts.judge(calibrated, names, images, rate)
    title = f"{arguments.folder}, judged by {name}"
    for path in verdicts.write(found, images, arguments.output, title, flow.num_values, arguments.num):
        print(path)
    print(found.sentence())


def sample(arguments: argparse.Namespace) -> None:
    """Draws samples as a PNG file."""
    name, label = arguments.name, arguments.label
    recipe = Recipe.from_toml(zoo.artefact(name, arguments.version) / "recipe.toml")
    if label is not None and not recipe.model.conditional:
        raise InputError(f"{name} is not conditional on a label: leave --label out")
    if label is not None and label >= recipe.data.num_classes:
        raise InputError(f"--label is {label}: {name} has the labels 0 to {recipe.data.num_classes - 1}")
    _import_backend()
    from tfflows.evaluation.images import save_png
    from tfflows.plots import sample_images

    flow = zoo.load(name, arguments.version)
    images = sample_images(flow, arguments.num, arguments.temperature, arguments.seed, label)
    save_png(arguments.output, images, flow.num_values)
    print(arguments.output)


def export(arguments: argparse.Namespace) -> None:
    """Writes a SavedModel, or ONNX models, for other programs."""
    _import_backend()
    from tfflows.export import deploy

    print(deploy(arguments.name, arguments.folder, arguments.version, arguments.serving, arguments.format))


def serve(arguments: argparse.Namespace) -> None:
    """Serves models until it is interrupted."""
    folders = {name: _folder_to_serve(name) for name in arguments.names}
    missing = [module for module in SERVING_MODULES if importlib.util.find_spec(module) is None]
    if missing:
        raise UnsupportedError(f"the server needs {', '.join(missing)}: pip install 'tfflows[serving]'")
    _import_backend()
    from tfflows.serving.server import serve
    from tfflows.serving.service import Limits

    limits = Limits(arguments.max_batch, arguments.max_megabytes * 2**20, arguments.timeout)
    serve(folders, arguments.host, arguments.port, arguments.rest_port, limits)


def _folder_to_serve(name: str) -> Path:
    """Returns the folder of the versions of a model; InputError where it is the hub's, which has one and no number."""
    folder = zoo.artefact(name)
    if folder.name.isdecimal():
        return folder.parent
    raise InputError(
        f"{name} is on the hub, and a server needs a SavedModel: `tfflows export {name} DIR`, then "
        f"`TFFLOWS_HOME=DIR tfflows serve {name.partition('@')[0].rpartition('/')[2]}`"
    )


def push(arguments: argparse.Namespace) -> None:
    """Uploads trained weights to the Hugging Face hub."""
    split_address(arguments.address)
    _import_backend()
    address = zoo.push(
        arguments.name, arguments.address, arguments.version, private=arguments.private, license=arguments.license
    )
    print(f'{address}\nnext: tfflows.zoo.load("{address}"), or in a recipe, hub = "{address}"')


def remove(arguments: argparse.Namespace) -> None:
    """Deletes weights that the user has trained."""
    for folder in zoo.remove(*split_version(arguments.name)):
        print(f"removed {folder}")


def _import_backend() -> None:
    """Imports Keras and its backend; `TfflowsImportError` where tfflows does not run on it."""
    import tfflows._backend  # noqa: F401
