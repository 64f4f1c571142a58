"""Masks of couplings as NumPy booleans: True is passed through and read, False is transformed."""

import numpy as np


def checkerboard(height: int, width: int) -> np.ndarray:
    """Returns [height, width, 1], True where row + column is odd (Dinh et al. 2017, figure 3, left)."""
    return (np.add.outer(np.arange(height), np.arange(width)) % 2 == 1)[..., None]


def halves(size: int) -> np.ndarray:
    """Returns [size], True in the first half; a middle element is transformed (Dinh et al. 2017, figure 3, right)."""
    return np.arange(size) < size // 2


def odd_even(size: int) -> np.ndarray:
    """Returns [size], True at the indices 1, 3, 5, ... (Dinh et al. 2015, section 5.1)."""
    return np.arange(size) % 2 == 1
