"""What the command line accepts."""

import argparse
import importlib.metadata
import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from tfflows.cli import commands

LARGEST_SEED, LARGEST_PORT = 2**31 - 1, 2**16 - 1
LARGEST_REQUEST = 2**11 - 1  # megabytes: protobuf counts bytes in int32


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Exits with code 2."""
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")


class _Version(argparse.Action):
    """Prints the version; it is looked up only when asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        """Exits with code 0."""
        print(f"tfflows {importlib.metadata.version('tfflows')}")
        parser.exit()


def _at_least(minimum: float, kind: type = int, maximum: float = sys.float_info.max) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = kind(text)
        if not minimum <= value <= maximum:
            bounds = f"of at least {minimum}" if maximum == sys.float_info.max else f"from {minimum} to {maximum}"
            raise argparse.ArgumentTypeError(f"{text} is not a number {bounds}")
        return value

    parse.__name__ = {int: "integer", float: "number"}[kind]  # argparse says "invalid integer value: 'x'"
    return parse


def _addresses(text: str) -> tuple[str, ...]:
    addresses = text.split(",")
    if not all(re.fullmatch(r"[^:\s]+:\d+", address) for address in addresses):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of addresses HOST:PORT with commas between them")
    return tuple(addresses)


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser; each subcommand sets `command`, a function of the parsed arguments."""
    parser = _Parser(
        prog="tfflows",
        description="Normalizing flows for images: train the models of the zoo, evaluate, sample, export.",
        epilog="example: tfflows train realnvp_digits && tfflows sample realnvp_digits --output digits.png",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version of tfflows")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(command: Callable, description: str, example: str) -> argparse.ArgumentParser:
        sub = subparsers.add_parser(
            command.__name__.removesuffix("_models"),
            help=description,
            description=f"{description}.",
            epilog=f"example: {example}",
        )
        sub.set_defaults(command=command)
        return sub

    def add_trained(command: Callable, description: str, example: str) -> argparse.ArgumentParser:
        sub = add(command, description, example)
        sub.add_argument("name", metavar="NAME", help="a model, see `tfflows list`, or hf://ORG/NAME")
        sub.add_argument("--version", type=_at_least(1), metavar="N", help="of the weights; default the highest")
        return sub

    def add_data(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--limit", type=_at_least(1), metavar="N", help="use at most N images of a split")
        sub.add_argument("--data", metavar="PATH", help="images to use instead: a folder or an .npz file")

    sub = add(commands.list_models, "list the models of the zoo", "tfflows list 'realnvp_*'")
    sub.add_argument("pattern", nargs="?", default="*", metavar="PATTERN", help="wildcard; default all")

    add_trained(commands.show, "show the recipe of a model and its figures", "tfflows show realnvp_digits")

    sub = add(
        commands.train, "train a model and store its weights", "tfflows train realnvp_digits --epochs 20 --seed 1"
    )
    sub.add_argument(
        "name", nargs="?", metavar="NAME", help="a model, see `tfflows list`, or a recipe.toml of your own"
    )
    sub.add_argument(
        "--model",
        metavar="FAMILY",
        help="of the images of --data: glow (default), realnvp, neural_spline, maf, maf_conv or nice",
    )
    sub.add_argument("--size", type=_at_least(8), metavar="N", help="resize the images of --data to NxN; default <= 32")
    sub.add_argument("--epochs", type=_at_least(1), metavar="N", help="default that of the recipe")
    sub.add_argument("--batch-size", type=_at_least(1), metavar="N", help="default that of the recipe")
    sub.add_argument("--seed", type=_at_least(0, maximum=LARGEST_SEED), default=0, metavar="N", help="default 0")
    add_data(sub)
    sub.add_argument("--output", metavar="DIR", help="where DIR/NAME/VERSION goes; default $TFFLOWS_HOME")
    sub.add_argument(
        "--store-as",
        metavar="NAME",
        help="default that of the recipe; NAME.custom where the run departs from the zoo's recipe NAME",
    )
    sub.add_argument("--resume", action="store_true", help="resume a run that was stopped")
    sub.add_argument(
        "--minutes", type=_at_least(0.001, float), metavar="M", help="stop in time for M minutes, to --resume later"
    )
    sub.add_argument("--precision", choices=("float32", "mixed_bfloat16"), help="default that of the recipe")
    sub.add_argument("--strategy", choices=("mirrored", "tpu"), help="all devices of this machine (TensorFlow)")
    sub.add_argument(
        "--hosts", type=_addresses, default=(), metavar="ADDR,ADDR", help="HOST:PORT of all processes (JAX)"
    )
    sub.add_argument("--host-index", type=_at_least(0), default=0, metavar="N", help="which of --hosts this one is")

    sub = add_trained(commands.evaluate, "measure the bits/dim of trained weights", "tfflows evaluate realnvp_digits")
    sub.add_argument("--split", choices=("train", "validation", "test"), default="test", help="default test")
    sub.add_argument("--batch-size", type=_at_least(1), default=256, metavar="N", help="default 256")
    sub.add_argument(
        "--robustness", action="store_true", help="measure numerical robustness, on images of other kinds too"
    )
    add_data(sub)

    sub = add_trained(
        commands.score,
        "judge images of your own: which are unlike a model's training data",
        "tfflows score realnvp_digits path/to/images --false-alarm-rate 0.01",
    )
    sub.add_argument("folder", metavar="FOLDER", help="PNG and JPEG files, in subfolders too")
    rate = _at_least(0, float, maximum=1)
    text = "share of ordinary images that is reported, default 0.01"
    sub.add_argument("--false-alarm-rate", type=rate, default=0.01, metavar="A", help=text)
    text = "bits_per_dim, typicality or input_complexity; default what the weights were calibrated with"
    sub.add_argument("--score", metavar="SCORE", help=text)
    sub.add_argument("--num", type=_at_least(1), default=100, metavar="N", help="images on the page, default 100")
    sub.add_argument(
        "--output", default="scores", metavar="DIR", help="of scores.csv and strangest.html; default scores"
    )

    sub = add_trained(commands.sample, "draw samples as a PNG file", "tfflows sample realnvp_digits --num 16 --seed 1")
    sub.add_argument("--num", type=_at_least(1), default=64, metavar="N", help="number of images, default 64")
    sub.add_argument("--temperature", type=_at_least(0, float), default=1.0, metavar="T", help="default 1")
    sub.add_argument("--seed", type=_at_least(0, maximum=LARGEST_SEED), default=0, metavar="N", help="default 0")
    sub.add_argument("--label", type=_at_least(0), metavar="N", help="class, of a class-conditional model")
    sub.add_argument("--output", default="samples.png", metavar="FILE", help="default samples.png")

    sub = add_trained(
        commands.export,
        "write a SavedModel or ONNX models for other programs",
        "tfflows export realnvp_digits models",
    )
    sub.add_argument("folder", metavar="DIR", help="DIR/NAME/VERSION is written")
    help_of_format = "saved_model (default), for TensorFlow Serving, or onnx, for onnxruntime"
    sub.add_argument("--format", choices=("saved_model", "onnx"), default="saved_model", help=help_of_format)
    sub.add_argument(
        "--serving",
        action="store_true",
        help="write configuration, docker-compose.yml and example requests to DIR too, also after an earlier export",
    )

    sub = add_trained(
        commands.push, "share trained weights on the Hugging Face hub", "tfflows push realnvp_digits hf://me/digits"
    )
    sub.add_argument("address", metavar="hf://ORG/NAME", help="the repository, made if there is none")
    sub.add_argument("--private", action="store_true", help="a new repository is visible to its owners alone")
    sub.add_argument("--license", default="apache-2.0", metavar="ID", help="of the weights, default apache-2.0")

    sub = add(commands.remove, "delete weights that you have trained", "tfflows remove realnvp_digits/2")
    sub.add_argument(
        "name", metavar="NAME[/VERSION]", help="of the weights; default all versions, logs and checkpoints"
    )

    sub = add(
        commands.serve, "serve models for development, as TensorFlow Serving does", "tfflows serve realnvp_digits"
    )
    sub.add_argument("names", nargs="+", metavar="NAME", help="models, with all versions of their folders")
    sub.add_argument("--host", default="127.0.0.1", help="address to listen on; default this machine alone, 127.0.0.1")
    for option, protocol, port in (("--port", "gRPC", 8500), ("--rest-port", "REST", 8501)):
        number = _at_least(0, maximum=LARGEST_PORT)
        text = f"of {protocol}, default {port}; 0 is any"
        sub.add_argument(option, type=number, default=port, metavar="N", help=text)
    sub.add_argument("--max-batch", type=_at_least(1), default=1024, metavar="N", help="rows a request, default 1024")
    megabytes = _at_least(1, maximum=LARGEST_REQUEST)
    sub.add_argument("--max-megabytes", type=megabytes, default=64, metavar="N", help="a request, default 64")
    sub.add_argument("--timeout", type=_at_least(0.001, float), default=60.0, metavar="S", help="seconds, default 60")
    return parser
