"""Recipes: the data of a zoo entry, its model, its training and what the paper reports. Frozen data, no code.

A recipe is a TOML file with a name, a description, an address on the hub if weights are there, and the tables [data],
[model], [model.arguments], [train], [evaluation] and [paper], one dataclass below for each. A mistake in it is an
InputError of one sentence.
"""

import dataclasses
import json
import os
import re
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from tfflows.errors import InputError
from tfflows.zoo.hints import (
    FrozenDict,
    Natural,
    NonNegative,
    Positive,
    PositiveFloat,
    Range,
    convert,
    require,
    require_known,
)


class _Table:
    """A frozen dataclass read from a TOML table; its values are checked against the type hints of its fields."""

    table_name = ""  # what messages put before the name of a key

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self), include_extras=True)
        for each in dataclasses.fields(self):
            where = f"{self.table_name}.{each.name}" if self.table_name else each.name
            object.__setattr__(self, each.name, convert(getattr(self, each.name), hints[each.name], where))

    @classmethod
    def from_table(cls, table: Mapping[str, Any], where: str) -> Self:
        """Reads a table; InputError where a key is unknown or missing, or a value has the wrong type or range."""
        require(isinstance(table, Mapping), where, table, "a table")
        fields = {each.name: each for each in dataclasses.fields(cls)}
        require_known(table, fields, where)
        for key, each in fields.items():
            if key not in table and each.default is each.default_factory is dataclasses.MISSING:
                raise InputError(f"{where} lacks the key {key!r}")
        return cls(**table)


@dataclass(frozen=True)
class DataConfig(_Table):
    """Images and how they are prepared: central crop, resize, then fewer grey values.

    Attributes:
        dataset: name in TensorFlow Datasets.
        shape: (height, width, channels) that the model sees.
        num_values: number of grey values of the model. Where it differs from `source_values`, an image becomes
            image * num_values // source_values (256 -> 32 are the 5-bit images of Glow).
        source_values: number of grey values of the data set's pixels.
        train: a split of the data set; slices are allowed ("train[:90%]").
        validation: another.
        test: another.
        crop: (height, width) of the central crop before the resize, or None.
        flip: whether training images are mirrored at random, left to right.
        num_classes: number of labels, for conditional models.
    """

    dataset: str
    shape: tuple[Positive, Positive, Literal[1, 3]]
    num_values: Annotated[int, Range(2, 257)] = 256
    source_values: Annotated[int, Range(2, 257)] = 256
    train: str = "train"
    validation: str = "validation"
    test: str = "test"
    crop: tuple[Positive, Positive] | None = None
    flip: bool = False
    num_classes: Annotated[int, Range(2)] | None = None

    table_name = "data"

    def __post_init__(self) -> None:
        super().__post_init__()
        expected = f"2 to source_values, which is {self.source_values}"
        require(self.num_values <= self.source_values, "data.num_values", self.num_values, expected)


@dataclass(frozen=True)
class ModelConfig(_Table):
    """The model of a recipe.

    Attributes:
        family: a key of `tfflows.models.MODELS`.
        arguments: keyword arguments of its function.
        base: the base distribution, an argument of `Flow`.
        dequantizer: the dequantizer, an argument of `Flow`.
        conditional: whether the model is of p(x | label).
    """

    family: str
    arguments: FrozenDict = field(default_factory=FrozenDict)
    base: str = "normal"
    dequantizer: str = "uniform"
    conditional: bool = False

    table_name = "model"


@dataclass(frozen=True)
class TrainConfig(_Table):
    """How a recipe trains.

    Attributes:
        epochs: passes over the training images.
        batch_size: images of a step, over all devices and hosts.
        learning_rate: the highest; it rises over `warmup_epochs`, then follows the schedule.
        optimizer: a Keras name; those of `tfflows.flow.optimizers`.
        schedule: of the learning rate.
        warmup_epochs: length of the linear warm-up, at most `epochs`.
        clip_norm: bound of the global norm of the gradient, or None.
        ema: decay of the moving average of the weights, which validation and the saved model use, or None.
        jit_compile: whether TensorFlow compiles the training step with XLA.
        precision: of the networks; densities, last layers and weights are float32.
    """

    epochs: Positive
    batch_size: Positive
    learning_rate: PositiveFloat = 1e-3
    optimizer: Literal["adam", "adamax", "adamw", "muon"] = "adam"
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: NonNegative = 0.0
    clip_norm: PositiveFloat | None = None
    ema: Annotated[float, Range(0, 1, above=True)] | None = None
    jit_compile: bool = False
    precision: Literal["float32", "mixed_bfloat16"] = "float32"

    table_name = "train"

    def __post_init__(self) -> None:
        super().__post_init__()
        expected = f"at most train.epochs, which is {self.epochs}: shorten it, or give more epochs (--epochs)"
        require(self.warmup_epochs <= self.epochs, "train.warmup_epochs", self.warmup_epochs, expected)


@dataclass(frozen=True)
class EvaluationConfig(_Table):
    """How test bits/dim are measured.

    Attributes:
        num_draws: independent single-sample bounds, whose mean is the figure.
        num_importance_samples: samples of the importance-weighted bound beside it.
        seed: of the first draw; the others follow.
    """

    num_draws: Positive = 10
    num_importance_samples: Positive = 8
    seed: Natural = 0

    table_name = "evaluation"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.seed < 2**31 - self.num_draws, "evaluation.seed", self.seed, "0 to 2^31, less num_draws")


@dataclass(frozen=True)
class PaperConfig(_Table):
    """Where the model comes from.

    Attributes:
        reference: the paper.
        bits_per_dim: the test bits/dim that it reports, if any.
        note: what else is to be known of the entry.
    """

    reference: str = ""
    bits_per_dim: float | None = None
    note: str = ""

    table_name = "paper"


def split_address(address: str) -> tuple[str, str | None]:
    """Returns the repository ORG/NAME of `hf://ORG/NAME` or `hf://ORG/NAME@REVISION`, and the revision or None."""
    found = re.fullmatch(r"hf://([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([A-Za-z0-9][\w./-]*))?", address, re.ASCII)
    if not found:
        raise InputError(f"{address!r} is no address on the Hugging Face hub: write hf://ORG/NAME[@REVISION]")
    return found.groups()


@dataclass(frozen=True)
class Recipe(_Table):
    """One zoo entry: frozen and hashable; `dataclasses.replace` makes a variant of it.

    Attributes:
        name: of the entry.
        description: one sentence.
        data: see the classes above, as for the tables that follow.
        model: a table.
        train: a table.
        evaluation: a table.
        paper: a table.
        hub: where trained weights are published, `hf://ORG/NAME[@REVISION]`, or None.
    """

    name: str
    description: str
    data: DataConfig
    model: ModelConfig
    train: TrainConfig
    evaluation: EvaluationConfig = EvaluationConfig()
    paper: PaperConfig = PaperConfig()
    hub: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hub is not None:
            split_address(self.hub)
        if self.model.conditional and self.data.num_classes is None:
            raise InputError("model.conditional is true but data.num_classes is missing; give the number of labels")

    @classmethod
    def from_toml(cls, source: os.PathLike | str) -> Self:
        """Reads a recipe from a path (`pathlib.Path`) or from the TOML text itself (str).

        Raises:
            InputError: the text is no TOML, a key is unknown or missing, or a value has the wrong type or range.
        """
        is_path = isinstance(source, os.PathLike)
        try:
            table = tomllib.loads(Path(source).read_text("utf-8") if is_path else source)
            return cls.from_dict(table)
        except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
            raise InputError(f"{os.fspath(source)}: {error}" if is_path else str(error)) from None

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; raises as `from_toml` does."""
        return cls.from_table(table, "recipe")

    def to_dict(self) -> dict[str, Any]:
        """Returns nested dicts, lists and scalars, ready for JSON."""
        return _thaw(self)

    def to_toml(self) -> str:
        """Returns TOML text that `from_toml` reads back as an equal recipe; keys that are None are left out."""
        return _toml(self.to_dict()).lstrip("\n")


def _thaw(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _thaw(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _thaw(item) for key, item in value.items()}
    return [_thaw(item) for item in value] if isinstance(value, tuple) else value


def _toml(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    lines = [f"[{'.'.join(path)}]"] if path else []
    tables = []
    for key, value in table.items():
        if isinstance(value, dict):
            tables.append(_toml(value, (*path, key)))
        elif value is not None:  # JSON writes strings, numbers, booleans and lists as TOML does
            lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    return "\n" + "\n".join(lines) + "\n" + "".join(tables)
