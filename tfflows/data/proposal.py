"""A recipe for images of the user's own: a model and a batch size that suit their number and size."""

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from tfflows import zoo
from tfflows.data.inventory import Inventory
from tfflows.errors import InputError
from tfflows.zoo.recipe import DataConfig, ModelConfig, Recipe, TrainConfig

LARGEST_SIDE = 32  # of the model's images, unless the user asks for another size
LARGEST_BATCH, FEWEST_STEPS = 64, 8  # images in a step; steps in an epoch
TOTAL_STEPS = 10_000
FEW_IMAGES = 5_000  # below this, networks overfit: the recipes of the digits have dropout
# Learning rates of Muon, which gets these families further than Adam in equal times; the others take Adam at 1e-3.
MUON = {"glow": 4e-3, "maf_conv": 6e-3, "neural_spline": 4e-3, "realnvp": 1.2e-2}


def propose(
    found: Inventory,
    family: str = "glow",
    name: str | None = None,
    size: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
) -> Recipe:
    """Returns a recipe for the images that `take_inventory` found.

    Models are small: they train on a few CPU cores. The recipe is a start, to be edited and trained again.

    Args:
        found: what `take_inventory` returned.
        family: "glow", "realnvp", "neural_spline", "maf", "maf_conv" or "nice".
        name: of the recipe; by default the family and the name of the folder, as `zoo.stored_name` has it.
        size: height and width of the model's images, a multiple of 4; by default the images' own up to 32.
        epochs: passes over the images; by default as many as make 10,000 steps, from 10 to 200.
        batch_size: images in a step; by default at most 64, and what memory holds.

    Raises:
        InputError: there is no such family, or no model has images of this size.

    Example:
        >>> from pathlib import Path
        >>> from tfflows.data import Inventory, propose
        >>> counts = {"train": 800, "validation": 100, "test": 100}
        >>> found = Inventory(Path("photos"), counts, (), {(480, 640): 1000}, channels=3, num_values=256)
        >>> propose(found, "glow").data.shape
        (32, 32, 3)
    """
    if family not in FAMILIES:
        raise InputError(f"model is {family!r}, expected one of {', '.join(sorted(FAMILIES))}")
    if size is not None and (size % 4 or size < 8):
        raise InputError(f"size is {size}, expected a multiple of 4 of at least 8")
    crop, (height, width) = _crop_and_size(found, size)
    title = found.path.name.encode("utf-8", "backslashreplace").decode()  # a recipe is UTF-8, a file's name need not be
    source = re.sub("[^a-z0-9]+", "_", found.path.resolve().stem.lower()).strip("_") or "images"
    data = DataConfig(
        dataset=source,
        shape=(height, width, found.channels),
        num_values=found.num_values,
        source_values=found.num_values,
        crop=crop,
    )
    number = found.counts["train"]
    arguments, memory = FAMILIES[family](height, width, found.channels)
    if number < FEW_IMAGES:
        arguments["dropout"] = 0.2
    batch_size = batch_size or _batch_size(number, memory)
    steps = max(1, number // batch_size)
    epochs = epochs or min(max(round(TOTAL_STEPS / steps), 10), 200)
    recipe = Recipe(
        name=name or f"{family}_{source}",
        description=f"A small {family} on images of one's own, {title}.",
        data=data,
        model=ModelConfig(family, arguments, base="logistic" if family == "nice" else "normal"),
        train=TrainConfig(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=MUON.get(family, 1e-3),
            schedule="cosine",
            warmup_epochs=round(min(epochs / 10, 500 / steps), 2),
            clip_norm=100.0,
            ema=0.99,
            optimizer="muon" if family in MUON else "adam",
        ),
    )
    return recipe if name else dataclasses.replace(recipe, name=zoo.stored_name(recipe, path=found.path))


def _crop_and_size(found: Inventory, size: int | None) -> tuple[tuple[int, int] | None, tuple[int, int]]:
    """Returns the crop, or None, and the (height, width) of the model's images.

    Images of one size keep their proportions: small ones lose at most 3 pixels at the borders, others are cut to a
    square. Images of several sizes have no common crop, and are resized to a square.
    """
    smallest = min(min(each) for each in found.sizes)
    one_size = next(iter(found.sizes)) if len(found.sizes) == 1 else None
    if size is None and one_size and max(one_size) <= LARGEST_SIDE and smallest >= 4:
        height, width = (side // 4 * 4 for side in one_size)
        return None if (height, width) == one_size else (height, width), (height, width)
    side = size or max(8, min(LARGEST_SIDE, smallest // 4 * 4))
    crop = (smallest, smallest) if one_size and one_size[0] != one_size[1] else None
    return crop, (side, side)


def _halvings(height: int, width: int) -> int:
    """Returns how often both sides can be halved, down to at least 4 pixels; 2 for smaller images."""
    number = 2
    while height % 2 ** (number + 1) == 0 == width % 2 ** (number + 1) and min(height, width) >= 4 * 2 ** (number + 1):
        number += 1
    return number


# Arguments of each family, and about how many bytes a training step holds for an image. Glow's are measured
# (benchmarks/memory.py: 12 bytes for each pixel, step and channel of the networks), the others' in proportion.


def _glow(height: int, width: int, channels: int) -> tuple[dict[str, Any], float]:
    levels, steps, filters = _halvings(height, width), 8, 64 if min(height, width) <= 16 else 96
    return {"num_levels": levels, "num_steps": steps, "width": filters}, height * width / 3 * steps * filters * 12


def _realnvp(height: int, width: int, channels: int) -> tuple[dict[str, Any], float]:
    levels, filters = min(_halvings(height, width) + 1, 3), 32
    # Muon does better without the penalty l2 on the kernels' scales.
    arguments = {"num_levels": levels, "num_blocks": 2, "filters": filters, "l2": 0.0}
    return arguments, height * width * 7 * levels * filters * 12


def _neural_spline(height: int, width: int, channels: int) -> tuple[dict[str, Any], float]:
    levels, steps, blocks, filters = _halvings(height, width), 4, 2, 48
    arguments = {"num_levels": levels, "num_steps": steps, "width": filters, "num_blocks": blocks, "num_bins": 8}
    return arguments, height * width / 3 * steps * blocks * 4 * filters * 12


def _maf(height: int, width: int, channels: int) -> tuple[dict[str, Any], float]:
    arguments = {"num_layers": 5, "hidden": [512, 512], "alpha": 0.05}
    return arguments, 5 * (height * width * channels * 4 + 1024) * 12


def _maf_conv(height: int, width: int, channels: int) -> tuple[dict[str, Any], float]:
    blocks, features = 4, 32
    arguments = {"width": features, "num_blocks": blocks}
    return arguments, height * width * channels * blocks * 4 * features * 12  # two gated stacks of `features` each


def _nice(height: int, width: int, channels: int) -> tuple[dict[str, Any], float]:
    return {"num_couplings": 4, "hidden": [512] * 4}, 4 * (height * width * channels * 2 + 2048) * 12


FAMILIES: Mapping[str, Callable[[int, int, int], tuple[dict[str, Any], float]]] = {
    "glow": _glow,
    "maf": _maf,
    "maf_conv": _maf_conv,
    "neural_spline": _neural_spline,
    "nice": _nice,
    "realnvp": _realnvp,
}


def _batch_size(number: int, memory: float) -> int:
    """Returns a power of two: at most 64, some steps in an epoch, a quarter of the machine's memory in a step."""
    largest = min(LARGEST_BATCH, max(number // FEWEST_STEPS, min(16, number)), int(_machine_memory() / 4 / memory))
    return 2 ** (max(largest, 1).bit_length() - 1)


def _machine_memory() -> float:
    """Returns the bytes of memory of this machine; 8 GB where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return 8e9
