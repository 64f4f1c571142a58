"""Pictures by matplotlib: of images, samples, paths, training, densities and scores.

Each function draws into `axes`, by default those of a new figure of a fitting size, and returns them: a notebook shows
the picture, `axes.figure.savefig(path)` writes it. They need matplotlib: pip install 'tfflows[plots]'.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from tfflows.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARGIN = 2  # pixels between the images of a grid
SMALLEST_SIDE = 32  # smaller images are enlarged by a whole factor, so that 8x8 digits are visible
COLOURS = ("#3b6fb6", "#d1495b", "#3f9b73", "#8d6cab", "#c98a1b")


def images(images: ArrayLike, num_values: int = 256, columns: int | None = None, axes: "Axes | None" = None) -> "Axes":
    """Draws a grid of images.

    Args:
        images: as for `image_grid`, like the arguments that follow.
        num_values: the number of values of a channel.
        columns: images in a row.
        axes: where to draw.

    Raises:
        InputError: the array is not of images.
        UnsupportedError: matplotlib is not installed.
    """
    return _draw(image_grid(images, num_values, columns), axes)


def samples(
    flow: Any,
    num: int = 64,
    temperature: float = 1.0,
    seed: int = 0,
    label: int | None = None,
    axes: "Axes | None" = None,
) -> "Axes":
    """Draws samples of a flow of images; the arguments are those of `sample_images`."""
    return images(sample_images(flow, num, temperature, seed, label), flow.num_values, axes=axes)


def interpolation(
    flow: Any, a: ArrayLike, b: ArrayLike, num: int = 9, condition: Any = None, axes: "Axes | None" = None
) -> "Axes":
    """Draws a row for each pair of images: a straight line between their latents, as `Flow.interpolate` returns it.

    Args:
        flow: a flow of images.
        a: images [B, H, W, C], the left ends.
        b: as many, the right ends.
        num: images in a row.
        condition: for conditional flows a label or vector, one for all or one for each row.
        axes: where to draw.

    Raises:
        InputError: the flow is not of images of integers.
    """
    _check_integers(flow)
    path = np.asarray(flow.interpolate(a, b, num, condition))
    return images(path.reshape(-1, *path.shape[2:]), flow.num_values, num, axes)


def learning_curve(metrics: Mapping[str, Any], axes: "Axes | None" = None) -> "Axes":
    """Draws the bits/dim of each epoch, in training and validation, and the test figure of the weights that were kept.

    Args:
        metrics: what `tfflows.zoo.metrics(NAME)` returns, the content of a `metrics.json`.
        axes: where to draw.
    """
    history = metrics["history"]
    epochs, training, validation = (
        [row[key] for row in history] for key in ("epoch", "bits_per_dim", "val_bits_per_dim")
    )
    axes = axes or _new(6, 3)
    axes.plot(epochs, training, color=COLOURS[0], label="training, mean of the epoch")
    axes.plot(epochs, validation, color=COLOURS[1], label="validation")
    axes.plot(metrics["best_epoch"], metrics["bits_per_dim"], "o", color=COLOURS[2], label="test, weights kept")
    # The first epochs are far above the others: the axis begins at the worst of the last four fifths.
    best, start = min(*training, *validation, metrics["bits_per_dim"]), sorted(validation)[-max(1, len(history) // 5)]
    axes.set(xlabel="epoch", ylabel="bits/dim", ylim=(best - 0.1, max(start, best) + 0.2))
    _plain(axes).legend(frameon=False)
    return axes


def density_2d(
    flow: Any,
    extent: tuple[float, float, float, float] = (-3.0, 3.0, -3.0, 3.0),
    points: int = 200,
    condition: Any = None,
    axes: "Axes | None" = None,
) -> "Axes":
    """Draws the density of a flow in two dimensions.

    Args:
        flow: a flow of x [B, 2] without a dequantizer.
        extent: left, right, bottom and top of the part of the plane that is shown.
        points: of the grid, in each direction.
        condition: for conditional flows one label or vector.
        axes: where to draw.

    Raises:
        InputError: the flow's x has another shape.
    """
    if tuple(flow.event_shape) != (2,):
        raise InputError(f"density_2d got a flow of x of shape {list(flow.event_shape)}: it draws flows of [2].")
    left, right, bottom, top = extent
    x, y = (low + (high - low) * (np.arange(points) + 0.5) / points for low, high in ((left, right), (bottom, top)))
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(points, points, 2).astype("float32")
    density = np.exp([flow.log_prob(row, condition) for row in grid])
    axes = axes or _new(4, 4)
    axes.imshow(density, origin="lower", extent=extent, cmap="viridis", aspect="equal", interpolation="bilinear")
    axes.set(xticks=[], yticks=[])
    return axes


def score_histogram(
    scores: Mapping[str, ArrayLike], xlabel: str = "bits/dim", bins: int = 40, axes: "Axes | None" = None
) -> "Axes":
    """Draws how scores are distributed, for some kinds of images.

    Args:
        scores: one number for each image, by the name of their kind, as {"test": ..., "blank": ...}.
        xlabel: the name of the score.
        bins: of the histogram, in the range of all scores.
        axes: where to draw.

    Raises:
        InputError: there are no scores.
    """
    values = {name: np.ravel(each) for name, each in scores.items()}
    if not values or not all(map(len, values.values())):
        raise InputError("score_histogram got no scores: give an array for each kind of images.")
    edges = np.histogram_bin_edges(np.concatenate(list(values.values())), bins)
    axes = axes or _new(6, 3)
    for index, (name, each) in enumerate(values.items()):
        shares, colour = np.full(len(each), 1 / len(each)), COLOURS[index % len(COLOURS)]
        axes.hist(each, edges, weights=shares, histtype="stepfilled", alpha=0.35, color=colour, label=name)
        axes.hist(each, edges, weights=shares, histtype="step", color=colour)
    axes.set(xlabel=xlabel, ylabel="share of images")
    _plain(axes).legend(frameon=False)
    return axes


def bits_map(flow: Any, image: ArrayLike, condition: Any = None, axes: "Axes | None" = None) -> "Axes":
    """Draws where in an image its bits are, see `Flow.bits_map`; the title has its bits/dim.

    Args:
        flow: a flow of images.
        image: integers [H, W, C].
        condition: for conditional flows the label or vector.
        axes: where to draw.
    """
    image = np.asarray(image)
    bits = np.asarray(flow.bits_map(image[None], condition))[0]
    axes = axes or _new(4.6, 4)
    drawn = axes.imshow(bits, cmap="magma", interpolation="none")
    bar = axes.figure.colorbar(drawn, ax=axes, shrink=0.8, label="bits")
    bar.outline.set_visible(False)
    axes.set_title(f"{bits.sum() / image.size:.3f} bits/dim")
    axes.axis("off")
    return axes


def show(images: ArrayLike, num_values: int = 256, columns: int | None = None) -> None:
    """Shows a grid of images, as in a notebook: `tfflows.show(flow.sample(16), flow.num_values)`.

    Args:
        images: as for `image_grid`, like the arguments that follow.
        num_values: the number of values of a channel.
        columns: images in a row.

    Raises:
        InputError: the array is not of images.
        UnsupportedError: matplotlib is not installed.
    """
    _draw(image_grid(images, num_values, columns), None)
    _pyplot().show()


def sample_images(
    flow: Any, num: int = 64, temperature: float = 1.0, seed: int = 0, label: int | None = None
) -> np.ndarray:
    """Returns samples [num, H, W, C]; of a class-conditional flow all of class `label`, or the classes in turn."""
    _check_integers(flow)
    if flow.num_classes is not None and label is None:
        label = np.arange(num) % flow.num_classes
    return flow.sample(num, temperature=temperature, seed=seed, condition=label)


def _check_integers(flow: Any) -> None:
    if flow.num_values is None:
        raise InputError(
            "this flow is of real numbers, without grey values (dequantizer=None): turn flow.sample into integers, and "
            "draw them with tfflows.plots.images"
        )


def image_grid(images: ArrayLike, num_values: int = 256, columns: int | None = None) -> np.ndarray:
    """Arranges images in one picture, row by row.

    Args:
        images: integers [N, H, W, C] in `[0, num_values)`, C = 1 (grey) or 3 (RGB), N >= 1.
        num_values: the number of values of a channel; the highest is shown as white.
        columns: images in a row; by default the picture is about square.

    Returns:
        uint8 [height, width, C] of the picture.

    Raises:
        InputError: the array is not of images.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or len(images) == 0:
        raise InputError(f"expected images [N, H, W, 1 or 3] with N >= 1, got an array of shape {images.shape}")
    grey = to_uint8(images, num_values)
    factor = math.ceil(SMALLEST_SIDE / min(images.shape[1:3]))
    tiles = grey.repeat(factor, axis=1).repeat(factor, axis=2)
    height, width, channels = tiles.shape[1:]
    columns = columns or math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    size = (rows * (height + MARGIN) + MARGIN, columns * (width + MARGIN) + MARGIN)
    grid = np.zeros((*size, channels), np.uint8)
    for index, tile in enumerate(tiles):
        top = MARGIN + (index // columns) * (height + MARGIN)
        left = MARGIN + (index % columns) * (width + MARGIN)
        grid[top : top + height, left : left + width] = tile
    return grid


def to_uint8(images: np.ndarray, num_values: int) -> np.ndarray:
    """Returns integer images with the highest of `num_values` as 255."""
    return np.clip(np.rint(images * (255.0 / (num_values - 1))), 0, 255).astype(np.uint8)


def _draw(grid: np.ndarray, axes: "Axes | None") -> "Axes":
    axes = axes or _new(grid.shape[1] / 64, grid.shape[0] / 64)
    axes.imshow(grid.squeeze(-1) if grid.shape[-1] == 1 else grid, cmap="gray", vmin=0, vmax=255, interpolation="none")
    axes.axis("off")
    return axes


def _new(width: float, height: float) -> "Axes":
    return _pyplot().subplots(figsize=(width, height), layout="constrained")[1]


def _plain(axes: "Axes") -> "Axes":
    """Removes the frame's upper and right edges, and adds faint lines to read values by."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise UnsupportedError("pictures need matplotlib, which is not installed: pip install matplotlib") from error
    return pyplot
