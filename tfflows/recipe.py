"""Recipes: the data of a zoo entry, its model, its training and what the paper reports. Frozen data, no code.

A recipe is a TOML file with a name, a description and the tables [data], [model], [model.arguments], [train],
[evaluation], [paper] and [weights], one dataclass below for each. A mistake in it is a ValueError of one sentence.
"""

import dataclasses
import difflib
import inspect
import json
import math
import os
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Range(typing.NamedTuple):
    """The numbers from `lowest` to below `end`, as a type hint: Annotated[int, Range(1)]."""

    lowest: float
    end: float = math.inf

    def __str__(self):
        return f">= {self.lowest}" + (f" and < {self.end}" if self.end < math.inf else "")


Positive, Natural = Annotated[int, Range(1)], Annotated[int, Range(0)]
NonNegative, Rate = Annotated[float, Range(0)], Annotated[float, Range(0, 1)]


def read_arguments(function, table, where):
    """`table` as keyword arguments of `function`, checked against its keyword-only parameters and their type hints.

    ValueError, of one sentence that begins with `where`: there is no such parameter, or the value is none for it.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    known = [name for name, p in inspect.signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY]
    _require_known(table, known, where)
    return {key: _convert(value, hints[key], f"{where}.{key}") for key, value in table.items()}


def _require(condition, key, value, expected):
    if not condition:
        raise ValueError(f"{key} is {value!r}, expected {expected}")


class FrozenDict(Mapping):
    """An immutable, hashable mapping; lists in it become tuples, dicts become FrozenDicts."""

    def __init__(self, mapping=()):
        self._items = {key: _freeze(value) for key, value in dict(mapping).items()}

    def __getitem__(self, key):
        return self._items[key]

    def __iter__(self):
        return iter(self._items)

    def __len__(self):
        return len(self._items)

    def __hash__(self):
        return hash(frozenset(self._items.items()))

    def __repr__(self):
        return f"FrozenDict({self._items})"


@dataclass(frozen=True)
class Data:
    """Images and how they are prepared: central crop, resize, then fewer grey values.

    dataset: name in TensorFlow Datasets; train, validation, test: its splits, slices allowed ("train[:90%]").
    shape: (height, width, channels) that the model sees; a crop (height, width) comes before the resize.
    source_values: number of values of the data set's pixels; num_values: of the model's. Where they differ,
    image = image * num_values // source_values (256 -> 32 are the 5-bit images of Glow).
    flip: mirror training images at random, left to right. num_classes: labels, for conditional models.
    """

    dataset: str
    shape: tuple[int, int, int]
    num_values: int = 256
    source_values: int = 256
    train: str = "train"
    validation: str = "validation"
    test: str = "test"
    crop: tuple[int, int] | None = None
    flip: bool = False
    num_classes: int | None = None

    def __post_init__(self):
        _require(min(self.shape) >= 1, "data.shape", self.shape, "three positive integers")
        _require(self.shape[2] in (1, 3), "data.shape", self.shape, "1 or 3 channels")
        _require(2 <= self.source_values <= 256, "data.source_values", self.source_values, "2 to 256")
        _require(
            2 <= self.num_values <= self.source_values,
            "data.num_values",
            self.num_values,
            f"2 to source_values, which is {self.source_values}",
        )
        _require(self.crop is None or min(self.crop) >= 1, "data.crop", self.crop, "two positive integers")
        _require(self.num_classes is None or self.num_classes >= 2, "data.num_classes", self.num_classes, ">= 2")


@dataclass(frozen=True)
class Model:
    """family: key of tfflows.models.MODELS; arguments: its keyword arguments; base, dequantizer: Flow's."""

    family: str
    arguments: FrozenDict = field(default_factory=FrozenDict)
    base: str = "normal"
    dequantizer: str = "uniform"
    conditional: bool = False


@dataclass(frozen=True)
class Train:
    """How to train.

    learning_rate rises over warmup_epochs, then follows the schedule; clip_norm bounds the global norm of the
    gradient; ema is the decay of the moving average of the weights, which validation and the saved model use;
    precision is that of the networks, while densities, last layers and weights are float32.
    """

    epochs: int
    batch_size: int
    learning_rate: float = 1e-3
    optimizer: Literal["adam", "adamax", "adamw"] = "adam"
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: float = 0.0
    clip_norm: float | None = None
    ema: float | None = None
    jit_compile: bool = False
    precision: Literal["float32", "mixed_bfloat16"] = "float32"

    def __post_init__(self):
        _require(self.epochs >= 1, "train.epochs", self.epochs, ">= 1")
        _require(self.batch_size >= 1, "train.batch_size", self.batch_size, ">= 1")
        _require(self.learning_rate > 0, "train.learning_rate", self.learning_rate, "> 0")
        _require(self.warmup_epochs >= 0, "train.warmup_epochs", self.warmup_epochs, ">= 0")
        _require(self.clip_norm is None or self.clip_norm > 0, "train.clip_norm", self.clip_norm, "> 0")
        _require(self.ema is None or 0 < self.ema < 1, "train.ema", self.ema, "between 0 and 1")


@dataclass(frozen=True)
class Evaluation:
    """Test bits/dim = mean of num_draws independent single-sample bounds; beside it, one importance-weighted
    bound with num_importance_samples samples."""

    num_draws: int = 10
    num_importance_samples: int = 8
    seed: int = 0

    def __post_init__(self):
        _require(self.num_draws >= 1, "evaluation.num_draws", self.num_draws, ">= 1")
        samples = self.num_importance_samples
        _require(samples >= 1, "evaluation.num_importance_samples", samples, ">= 1")
        _require(0 <= self.seed < 2**31 - self.num_draws, "evaluation.seed", self.seed, "0 to 2^31, less num_draws")


@dataclass(frozen=True)
class Paper:
    """Where the model comes from, the test bits/dim reported there, if any, and what is to be known of it."""

    reference: str = ""
    bits_per_dim: float | None = None
    note: str = ""


def check_url(url):
    """Return `url` if weights may come from it: `https:`, `file:` on this machine, or `http:` on its loopback.

    Other `http:` is refused: sha256 guards what arrives, but the network would see what is asked for.
    """
    try:
        parts = urlsplit(url)
        local = url.startswith(("file:///", "file://localhost/"))
        hosts = {"https": parts.hostname, "http": parts.hostname in LOOPBACK, "file": local}
        allowed = hosts.get(parts.scheme) and parts.username is None and re.fullmatch("[!-~]+", url)
    except ValueError:  # brackets that do not match
        allowed = False
    if not allowed:
        raise ValueError(f"{url!r} is no URL to load from: give https:, file:, or http: on {' or '.join(LOOPBACK)}")
    return url


@dataclass(frozen=True)
class Weights:
    """Where trained weights are published, as an archive that `tfflows pack` wrote (and printed this table for).

    version: number of the weights; size, sha256: of the archive; urls: its mirrors, tried in this order.
    """

    version: int
    size: int
    sha256: str
    urls: tuple[str, ...]

    def __post_init__(self):
        _require(self.version >= 1, "weights.version", self.version, ">= 1")
        _require(self.size >= 1, "weights.size", self.size, "the bytes of the archive")
        _require(re.fullmatch("[0-9a-f]{64}", self.sha256), "weights.sha256", self.sha256, "64 digits 0-9a-f")
        _require(self.urls, "weights.urls", self.urls, "at least one")
        for url in self.urls:
            check_url(url)


@dataclass(frozen=True)
class Recipe:
    """One zoo entry. Frozen and hashable; dataclasses.replace makes a variant of it."""

    name: str
    description: str
    data: Data
    model: Model
    train: Train
    evaluation: Evaluation = Evaluation()
    paper: Paper = Paper()
    weights: Weights | None = None

    def __post_init__(self):
        if self.model.conditional and self.data.num_classes is None:
            raise ValueError("model.conditional is true but data.num_classes is missing; give the number of labels")

    @classmethod
    def from_toml(cls, source):
        """Reads a recipe from a path (pathlib.Path) or from the TOML text itself (str).

        ValueError: the text is no TOML, or a key is unknown or missing, a value has the wrong type or range.
        """
        is_path = isinstance(source, os.PathLike)
        try:
            table = tomllib.loads(Path(source).read_text("utf-8") if is_path else source)
            return cls.from_dict(table)
        except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
            if is_path:
                raise ValueError(f"{os.fspath(source)}: {error}") from None
            raise

    @classmethod
    def from_dict(cls, table):
        """The inverse of to_dict; raises as from_toml does."""
        return _parse(cls, table, "recipe")

    def to_dict(self):
        """Nested dicts, lists and scalars, ready for JSON."""
        return _thaw(self)

    def to_toml(self):
        """TOML text that from_toml reads back as an equal recipe; what is None is left out."""
        return _toml(self.to_dict()).lstrip("\n")


def _freeze(value):
    if isinstance(value, Mapping):
        return FrozenDict(value)
    return tuple(map(_freeze, value)) if isinstance(value, list | tuple) else value


def _thaw(value):
    if dataclasses.is_dataclass(value):
        return {f.name: _thaw(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _thaw(item) for key, item in value.items()}
    return [_thaw(item) for item in value] if isinstance(value, tuple) else value


def _toml(table, path=()):
    lines = [f"[{'.'.join(path)}]"] if path else []
    tables = []
    for key, value in table.items():
        if isinstance(value, dict):
            tables.append(_toml(value, (*path, key)))
        elif value is not None:  # JSON writes strings, numbers, booleans and lists as TOML does
            lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    return "\n" + "\n".join(lines) + "\n" + "".join(tables)


def _parse(cls, table, where):
    """A dataclass from a table, its keys and types checked against the fields."""
    if not isinstance(table, Mapping):
        raise ValueError(f"{where} is {table!r}, expected a table")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    _require_known(table, fields, where)
    for key, f in fields.items():
        if key not in table and f.default is f.default_factory is dataclasses.MISSING:
            raise ValueError(f"{where} lacks the key {key!r}")
    hints = typing.get_type_hints(cls)
    prefix = "" if where == "recipe" else f"{where}."
    return cls(**{key: _convert(value, hints[key], prefix + key) for key, value in table.items()})


def _require_known(table, known, where):
    for key in table:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0)[0]
            raise ValueError(f"{where} has no key {key!r}; did you mean {nearest!r}?")


def _convert(value, hint, where):
    """The value as the type `hint`, or a ValueError that says what was expected."""
    if dataclasses.is_dataclass(hint):
        return _parse(hint, value, where)
    if typing.get_origin(hint) is types.UnionType:  # X | None
        return None if value is None else _convert(value, typing.get_args(hint)[0], where)
    if typing.get_origin(hint) is Annotated:
        kind, numbers = typing.get_args(hint)
        value = _convert(value, kind, where)
        _require(numbers.lowest <= value < numbers.end, where, value, numbers)
        return value
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise ValueError(f"{where} is {value!r}, expected one of {', '.join(map(repr, choices))}")
        return value
    if typing.get_origin(hint) is tuple:
        sizes = typing.get_args(hint)
        if sizes[-1] is Ellipsis:
            _require(isinstance(value, list | tuple), where, value, "a list")
            return tuple(_convert(item, sizes[0], where) for item in value)
        if not isinstance(value, list | tuple) or len(value) != len(sizes):
            raise ValueError(f"{where} is {value!r}, expected {len(sizes)} integers in brackets")
        return tuple(_convert(item, size, where) for item, size in zip(value, sizes, strict=True))
    if hint is FrozenDict:
        if not isinstance(value, Mapping):
            raise ValueError(f"{where} is {value!r}, expected a table")
        return FrozenDict(value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:  # not isinstance: True is no number here
        names = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}
        raise ValueError(f"{where} is {value!r}, expected {names[hint]}")
    return value
