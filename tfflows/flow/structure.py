"""The structure of a flow as text: its parts from data to latent, with shapes and numbers of weights."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from tfflows.layers.base import FlowLayer
from tfflows.layers.compose import Chain, Multiscale

Row = tuple[str, tuple[int, ...] | None, int]  # a part, the shape of what it gives, its number of weights


def describe(flow: Any) -> str:
    """Returns a table of the parts of a `Flow`, one line for each run of equal steps."""
    values = "real values" if flow.num_values is None else f"integers 0 to {flow.num_values - 1}"
    conditional = f" given one of {flow.num_classes} labels" if flow.num_classes else ""
    conditional = f" given a vector [{flow.condition_size}]" if flow.condition_size else conditional
    dequantizer = [] if flow.dequantizer is None else [_row(flow.dequantizer, flow.event_shape)]
    rows = [
        *dequantizer,
        *_rows(flow.transform, flow.event_shape),
        (f"base: {flow.base.kind}", flow.latent_shape, flow.base.count_params()),
    ]
    width = max(len(text) for text, _, _ in rows)
    shapes = ["" if shape is None else str(list(shape)) for _, shape, _ in rows]
    shape_width = max(map(len, shapes))
    trainable = sum(math.prod(weight.shape) for weight in flow.trainable_weights)
    lines = [
        f"{type(flow).__name__} {flow.name!r} of {values}, shape {list(flow.event_shape)}{conditional}",
        *(
            f"  {text:<{width}}  {shape:<{shape_width}}  {number:>11,} weights".rstrip()
            for (text, _, number), shape in zip(rows, shapes, strict=True)
        ),
        f"{flow.count_params():,} weights, {trainable:,} of them trainable",
    ]
    return "\n".join(lines)


def _row(layer: Any, shape: Sequence[int]) -> Row:
    return type(layer).__name__, tuple(shape), layer.count_params()


def _rows(layer: FlowLayer, shape: tuple[int, ...], depth: int = 0) -> Iterator[Row]:
    """Yields the rows of a layer on data of a shape, those of nested layers indented."""
    indent = "  " * depth
    if isinstance(layer, Multiscale):
        for number, level in enumerate(reversed(layer.layers), 1):
            yield f"{indent}level {number} of {len(layer.layers)}", None, level.count_params()
            yield from _rows(level, shape, depth + 1)
            shape = level.latent_shape(shape)
            shape = (*shape[:-1], shape[-1] // 2)  # the other half is factored out
    elif isinstance(layer, Chain):
        yield from _rows_of_chain(layer, shape, depth)
    else:
        yield indent + _name(layer), layer.latent_shape(shape), layer.count_params()


def _rows_of_chain(chain: Chain, shape: tuple[int, ...], depth: int) -> Iterator[Row]:
    from_data = chain.layers[::-1]
    names = [_name(layer) for layer in from_data]
    start = 0
    while start < len(names):
        period, repeats = _longest_repetition(names[start:])
        run = from_data[start : start + period * repeats]
        start += period * repeats
        if repeats == 1:
            yield from _rows(run[0], shape, depth)
        else:
            step = ", ".join(names[start - period : start])
            text = f"{repeats} x {step if period == 1 else f'({step})'}"
            for layer in run[:-1]:
                shape = layer.latent_shape(shape)
            yield "  " * depth + text, run[-1].latent_shape(shape), sum(layer.count_params() for layer in run)
        shape = run[-1].latent_shape(shape)


def _longest_repetition(names: Sequence[str]) -> tuple[int, int]:
    """Returns (period, repeats) of what a list begins with: (2, 3) for a b a b a b c, (1, 1) where nothing repeats."""
    best = (1, 1)
    for period in range(1, len(names) // 2 + 1):
        repeats = 1
        while names[repeats * period : (repeats + 1) * period] == names[:period]:
            repeats += 1
        if repeats > 1 and period * repeats > best[0] * best[1]:
            best = (period, repeats)
    return best


def _name(layer: FlowLayer) -> str:
    inner = getattr(layer, "layers", None)
    if not inner:
        return type(layer).__name__
    return f"{type(layer).__name__}({', '.join(_name(each) for each in reversed(inner))})"
