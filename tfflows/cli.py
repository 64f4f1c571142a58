"""The command line. Only the commands that compute import TensorFlow, so that the others are instant."""

import argparse
import dataclasses
import importlib.util
import json
import os
import re
import shutil
import sys
from pathlib import Path

from tfflows import _disk, cache, store, zoo
from tfflows.archive import pack
from tfflows.recipe import Recipe, check_url

SERVING_MODULES = ("tensorflow_serving", "grpc", "starlette", "uvicorn", "prometheus_client")
# Errors whose message is one sentence for the user; any other is a fault, and its traceback tells where.
EXPECTED = (ValueError, TypeError, OSError, ArithmeticError, MemoryError, NotImplementedError, store.StoreError)
LARGEST_SEED, LARGEST_PORT = 2**31 - 1, 2**16 - 1


def main(argv=None):
    """Run a command and return the exit code: 1 where training diverged, 2 for a wrong argument."""
    arguments = _parser().parse_args(argv)
    try:
        with _disk.explained():
            arguments.command(arguments)
    except KeyboardInterrupt:
        hint = ": the same command with --resume goes on after the last whole epoch"
        print(f"\ntfflows: interrupted{hint if arguments.command is _train else ''}", file=sys.stderr)
        return 130
    except EXPECTED as error:
        if arguments.debug:
            raise
        print(f"tfflows: {error}", file=sys.stderr)
        return 1 if isinstance(error, ArithmeticError) else 2
    return 0


def _list(arguments):
    names = zoo.list_models(arguments.pattern)
    trained = set(zoo.list_models(arguments.pattern, trained=True))
    if not names:
        raise ValueError(f"no model matches {arguments.pattern!r}: `tfflows list` shows all")
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


def _show(arguments):
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


def _train(arguments):
    is_file = arguments.name.endswith(".toml")
    recipe = Recipe.from_toml(Path(arguments.name)) if is_file else zoo.recipe(arguments.name)
    given = {key: getattr(arguments, key) for key in ("epochs", "batch_size", "precision")}
    changes = {key: value for key, value in given.items() if value is not None}
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, **changes))
    _import_tensorflow()
    from tfflows.train import fit

    folder = fit(
        recipe,
        seed=arguments.seed,
        limit=arguments.limit,
        path=arguments.data,
        output=arguments.output,
        resume=arguments.resume,
        strategy=arguments.strategy,
        hosts=arguments.hosts,
        host_index=arguments.host_index,
        minutes=arguments.minutes,
    )
    if folder is None:
        if arguments.minutes is not None:
            print(f"stopped, since {arguments.minutes:g} minutes are over: go on with --resume")
        return
    metrics = json.loads((folder / "metrics.json").read_text())
    print(f"test bits/dim {metrics['bits_per_dim']:.4f}, {metrics['protocol']}\n{folder}")


def _evaluate(arguments):
    recipe = Recipe.from_toml(zoo.artefact(arguments.name, arguments.version) / "recipe.toml")
    _import_tensorflow()
    from tfflows import data
    from tfflows.evaluate import evaluate

    images = data.arrays(recipe.data, arguments.split, arguments.limit, arguments.data)
    flow = zoo.load(arguments.name, arguments.version)
    result = evaluate(flow, images, recipe.evaluation, arguments.batch_size)
    source = data.version(recipe.data, arguments.data)
    print(
        f"{arguments.split} bits/dim {result['bits_per_dim']:.4f}, {result['protocol']}\n"
        f"{result['importance_bits_per_dim']:.4f} by the importance-weighted bound of "
        f"{result['num_importance_samples']} samples\n{result['num_images']:,} images of {source}"
    )
    if arguments.safety:
        from tfflows import safety

        print("\n" + safety.table(safety.measure(flow, images)), end="")


def _sample(arguments):
    zoo.artefact(arguments.name, arguments.version)
    _import_tensorflow()
    from tfflows.visualize import sample_images, save_png

    flow = zoo.load(arguments.name, arguments.version)
    images = sample_images(flow, arguments.num, arguments.temperature, arguments.seed, arguments.label)
    save_png(arguments.output, images, flow.num_values)
    print(arguments.output)


def _export(arguments):
    artefact = zoo.artefact(arguments.name, arguments.version)

    def write(folder):
        for name in store.manifest(artefact):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(artefact / name, folder / name)
        if not (folder / "saved_model.pb").exists():
            _import_tensorflow()
            from tfflows.export import export

            export(zoo.load(arguments.name, arguments.version), folder)

    published = store.publish(Path(arguments.folder) / arguments.name, write, int(artefact.name))
    if arguments.serving:
        from tfflows.serving.bundle import write_bundle

        write_bundle(arguments.folder)
    print(published)


def _serve(arguments):
    folders = {name: zoo.artefact(name).parent for name in arguments.names}
    missing = [module for module in SERVING_MODULES if importlib.util.find_spec(module) is None]
    if missing:
        raise NotImplementedError(f"the server needs {', '.join(missing)}: pip install 'tfflows[serving]'")
    _import_tensorflow()
    from tfflows.serving.server import serve
    from tfflows.serving.service import Limits

    limits = Limits(arguments.max_batch, arguments.max_megabytes * 2**20, arguments.timeout)
    serve(folders, arguments.host, arguments.port, arguments.rest_port, limits)


def _pack(arguments):
    urls = [check_url(url) for url in arguments.url]
    folder, path = zoo.artefact(arguments.name, arguments.version), Path(arguments.file)
    pack(folder, path)
    print(f'[weights]\nversion = {folder.name}\nsize = {path.stat().st_size}\nsha256 = "{store.sha256(path)}"')
    print(f"urls = {json.dumps(urls or [path.resolve().as_uri()])}")


def _cache(arguments):
    if arguments.action == "clear":
        print(f"{cache.clear(arguments.name) / 1e6:,.1f} MB freed")
        return
    for path, size in cache.entries():
        if arguments.name in (None, path.parent.name):
            print(f"{size / 1e6:10,.1f} MB  {path}{'  (broken off)' if path.name.startswith('.') else ''}")


def _import_tensorflow():
    """Import TensorFlow without what its libraries print as they load; they obey no setting."""
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


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def _at_least(minimum, kind=int, maximum=sys.float_info.max):
    def parse(text):
        value = kind(text)
        if not minimum <= value <= maximum:
            bounds = f"of at least {minimum}" if maximum == sys.float_info.max else f"from {minimum} to {maximum}"
            raise argparse.ArgumentTypeError(f"{text} is not a number {bounds}")
        return value

    parse.__name__ = {int: "integer", float: "number"}[kind]  # argparse says "invalid integer value: 'x'"
    return parse


def _addresses(text):
    addresses = text.split(",")
    if not all(re.fullmatch(r"[^:\s]+:\d+", address) for address in addresses):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of addresses HOST:PORT with commas between them")
    return tuple(addresses)


def _parser():
    parser = _Parser(
        prog="tfflows",
        description="Normalizing flows for images: train the models of the zoo, evaluate, sample, export.",
        epilog="example: tfflows train realnvp_digits && tfflows sample realnvp_digits --output digits.png",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(command, description, example):
        sub = commands.add_parser(
            command.__name__[1:],
            help=description,
            description=f"{description}.",
            epilog=f"example: {example}",
        )
        sub.set_defaults(command=command)
        return sub

    def add_trained(command, description, example):
        sub = add(command, description, example)
        sub.add_argument("name", metavar="NAME", help="a model, see `tfflows list`")
        sub.add_argument("--version", type=_at_least(1), metavar="N", help="of the weights; default the highest")
        return sub

    def add_data(sub):
        sub.add_argument("--limit", type=_at_least(1), metavar="N", help="use at most N images of a split")
        sub.add_argument("--data", metavar="PATH", help="images to use instead: a folder or an .npz file")

    sub = add(_list, "list the models of the zoo", "tfflows list 'realnvp_*'")
    sub.add_argument("pattern", nargs="?", default="*", metavar="PATTERN", help="wildcard; default all")

    add_trained(_show, "show the recipe of a model and its figures", "tfflows show realnvp_digits")

    sub = add(_train, "train a model and store its weights", "tfflows train realnvp_digits --epochs 20 --seed 1")
    sub.add_argument("name", metavar="NAME", help="a model, see `tfflows list`, or a recipe.toml of your own")
    sub.add_argument("--epochs", type=_at_least(1), metavar="N", help="default that of the recipe")
    sub.add_argument("--batch-size", type=_at_least(1), metavar="N", help="default that of the recipe")
    sub.add_argument("--seed", type=_at_least(0, maximum=LARGEST_SEED), default=0, metavar="N", help="default 0")
    add_data(sub)
    sub.add_argument("--output", metavar="DIR", help="where DIR/NAME/VERSION goes; default $TFFLOWS_HOME")
    sub.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    sub.add_argument("--minutes", type=_at_least(0.001, float), metavar="M", help="stop in time, to --resume later")
    sub.add_argument("--precision", choices=("float32", "mixed_bfloat16"), help="default that of the recipe")
    sub.add_argument("--strategy", choices=("mirrored", "tpu"), help="all devices of this machine (TensorFlow)")
    sub.add_argument(
        "--hosts", type=_addresses, default=(), metavar="ADDR,ADDR", help="HOST:PORT of all processes (JAX)"
    )
    sub.add_argument("--host-index", type=_at_least(0), default=0, metavar="N", help="which of --hosts this one is")

    sub = add_trained(_evaluate, "measure the bits/dim of trained weights", "tfflows evaluate realnvp_digits")
    sub.add_argument("--split", choices=("train", "validation", "test"), default="test", help="default test")
    sub.add_argument("--batch-size", type=_at_least(1), default=256, metavar="N", help="default 256")
    sub.add_argument("--safety", action="store_true", help="measure numerical safety, on images of other kinds too")
    add_data(sub)

    sub = add_trained(_sample, "draw samples as a PNG file", "tfflows sample realnvp_digits --num 16 --seed 1")
    sub.add_argument("--num", type=_at_least(1), default=64, metavar="N", help="number of images, default 64")
    sub.add_argument("--temperature", type=_at_least(0, float), default=1.0, metavar="T", help="default 1")
    sub.add_argument("--seed", type=_at_least(0, maximum=LARGEST_SEED), default=0, metavar="N", help="default 0")
    sub.add_argument("--label", type=_at_least(0), metavar="N", help="class, of a class-conditional model")
    sub.add_argument("--output", default="samples.png", metavar="FILE", help="default samples.png")

    sub = add_trained(_export, "write a SavedModel for TensorFlow Serving", "tfflows export realnvp_digits models")
    sub.add_argument("folder", metavar="DIR", help="DIR/NAME/VERSION is written")
    sub.add_argument(
        "--serving", action="store_true", help="write configuration, docker-compose.yml and example requests to DIR too"
    )

    sub = add_trained(_pack, "write trained weights to a file for publishing", "tfflows pack realnvp_digits digits.zip")
    sub.add_argument("file", metavar="FILE", help="the archive; the [weights] table of a recipe is printed for it")
    sub.add_argument(
        "--url",
        action="append",
        default=[],
        metavar="URL",
        help="where it will be published; again for each mirror; default FILE",
    )

    sub = add(_cache, "list or delete weights that were downloaded", "tfflows cache clear realnvp_mnist")
    sub.add_argument("action", choices=("list", "clear"), help="what you have trained yourself is never deleted")
    sub.add_argument("name", nargs="?", metavar="NAME", help="a model; default all")

    sub = add(_serve, "serve models for development, as TensorFlow Serving does", "tfflows serve realnvp_digits")
    sub.add_argument("names", nargs="+", metavar="NAME", help="models, with all versions of their folders")
    sub.add_argument("--host", default="127.0.0.1", help="address to listen on; default this machine alone, 127.0.0.1")
    sub.add_argument(
        "--port",
        type=_at_least(0, maximum=LARGEST_PORT),
        default=8500,
        metavar="N",
        help="of gRPC, default 8500; 0 is any",
    )
    sub.add_argument(
        "--rest-port",
        type=_at_least(0, maximum=LARGEST_PORT),
        default=8501,
        metavar="N",
        help="of REST, default 8501; 0 is any",
    )
    sub.add_argument("--max-batch", type=_at_least(1), default=1024, metavar="N", help="rows a request, default 1024")
    sub.add_argument("--max-megabytes", type=_at_least(1), default=64, metavar="N", help="a request, default 64")
    sub.add_argument("--timeout", type=_at_least(0.001, float), default=60.0, metavar="S", help="seconds, default 60")
    return parser
