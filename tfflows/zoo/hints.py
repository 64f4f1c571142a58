"""Type hints that carry ranges, and the check of values against type hints: for recipes and the arguments of models."""

import dataclasses
import difflib
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from tfflows.errors import InputError


class Range(typing.NamedTuple):
    """The numbers from `lowest` (or above it) to below `end`, as a type hint: `Annotated[int, Range(1)]`."""

    lowest: float
    end: float = math.inf
    above: bool = False

    def __contains__(self, number: float) -> bool:
        return (self.lowest < number if self.above else self.lowest <= number) and number < self.end

    def __str__(self) -> str:
        return f"{'>' if self.above else '>='} {self.lowest}" + (f" and < {self.end}" if self.end < math.inf else "")


Positive, Natural = Annotated[int, Range(1)], Annotated[int, Range(0)]
PositiveFloat, NonNegative = Annotated[float, Range(0, above=True)], Annotated[float, Range(0)]
Rate = Annotated[float, Range(0, 1)]


class FrozenDict(Mapping):
    """An immutable, hashable mapping; lists in it become tuples, dicts become FrozenDicts."""

    def __init__(self, mapping: Mapping | Iterable[tuple[str, Any]] = ()) -> None:
        self._items = {key: _freeze(value) for key, value in dict(mapping).items()}

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return f"FrozenDict({self._items})"


def _freeze(value: Any) -> Any:
    if isinstance(value, Mapping):
        return FrozenDict(value)
    return tuple(map(_freeze, value)) if isinstance(value, list | tuple) else value


def read_arguments(function: Callable, table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Checks `table` against the keyword-only parameters of `function` and their type hints.

    Args:
        function: whose parameters the table names.
        table: values by name.
        where: what messages begin with, as "model.arguments".

    Returns:
        The keyword arguments for `function`.

    Raises:
        InputError: there is no such parameter, or its value has the wrong type or range.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    known = [name for name, p in inspect.signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY]
    require_known(table, known, where)
    return {key: convert(value, hints[key], f"{where}.{key}") for key, value in table.items()}


def require_known(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Raises InputError, with the nearest known key, for a key of `table` that is not in `known`."""
    for key in table:
        if key not in known:
            nearest = difflib.get_close_matches(key, list(known), n=1, cutoff=0)[0]
            raise InputError(f"{where} has no key {key!r}; did you mean {nearest!r}?")


def require(condition: Any, key: str, value: Any, expected: str) -> None:
    """Raises InputError unless `condition` is true."""
    if not condition:
        raise InputError(f"{key} is {value!r}, expected {expected}")


def convert(value: Any, hint: Any, where: str) -> Any:
    """Returns `value` as the type `hint`.

    Args:
        value: as TOML or Python gives it; lists become tuples, an int becomes a float where one is expected.
        hint: int, float, bool, str, a tuple, a Literal, `X | None`, an Annotated with a `Range`, `FrozenDict`, or a
            dataclass with a method `from_table(table, where)`.
        where: the name of the value in messages.

    Raises:
        InputError: the value has another type or is out of range.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else hint.from_table(value, where)
    if origin is types.UnionType or origin is typing.Union:  # X | None
        return None if value is None else convert(value, arguments[0], where)
    if origin is Annotated:
        kind, numbers = arguments
        value = convert(value, kind, where)
        require(value in numbers, where, value, str(numbers))
        return value
    if origin is Literal:
        require(value in arguments, where, value, f"one of {', '.join(map(repr, arguments))}")
        return value
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            require(isinstance(value, list | tuple), where, value, "a list")
            return tuple(convert(item, arguments[0], where) for item in value)
        right_length = isinstance(value, list | tuple) and len(value) == len(arguments)
        require(right_length, where, value, f"{len(arguments)} integers in brackets")
        return tuple(convert(item, kind, where) for item, kind in zip(value, arguments, strict=True))
    if hint is FrozenDict:
        require(isinstance(value, Mapping), where, value, "a table")
        return FrozenDict(value)
    if hint is float and type(value) is int:
        return float(value)
    names = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}
    require(type(value) is hint, where, value, names[hint])  # not isinstance: True is no number here
    return value
