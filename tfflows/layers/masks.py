"""Masks as NumPy booleans: of couplings (True is passed through and read, False is transformed) and of MADEs."""

import numpy as np


def checkerboard(height, width):
    """[height, width, 1], True where row + column is odd (Dinh et al. 2017, figure 3, left)."""
    return (np.add.outer(np.arange(height), np.arange(width)) % 2 == 1)[..., None]


def halves(size):
    """[size], True in the first half; a middle element is transformed (Dinh et al. 2017, figure 3, right)."""
    return np.arange(size) < size // 2


def odd_even(size):
    """[size], True at the indices 1, 3, 5, ... (Dinh et al. 2015, section 5.1)."""
    return np.arange(size) % 2 == 1


def made_degrees(size, hidden, mode="sequential", lowest=1, seed=0):
    """Degrees of the units of a MADE, one array [width] for each layer: inputs, hidden layers, outputs.

    A unit is connected to those of the layer before whose degree is not above its own. Input i (of 1 .. size) has
    degree i and output i degree i - 1, so that it sees the inputs before i alone. Hidden units of degree m see the
    inputs 1 .. m; they are sorted. "sequential" runs through lowest .. size - 1 again and again; "random" draws from
    there, but not below the layer before, where a unit would see nothing (Germain et al. 2015, arXiv 1502.03509,
    section 4). `lowest` is 0 where a condition gives units that see no input something to do.
    """
    if mode not in ("sequential", "random"):
        raise ValueError(f"The degrees of a MADE are 'sequential' or 'random', not {mode!r}.")
    random, degrees = np.random.RandomState(seed), [np.arange(1, size + 1)]
    low = min(lowest, size - 1)
    for width in hidden:
        if mode == "random":
            degrees.append(np.sort(random.randint(low, size, size=width)))
            low = int(degrees[-1][0])
        else:
            degrees.append(np.sort(np.arange(width) % (size - low) + low))
    return [layer.astype("int32") for layer in (*degrees, np.arange(size))]
