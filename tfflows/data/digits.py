"""scikit-learn's handwritten digits: 1797 images of 8x8 pixels with 17 grey values. Needs no download.

They are the test set of E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
Learning Repository, 1998. scikit-learn keeps its order, in which the writers follow one another; the splits
cut it without shuffling, so that the test images come from writers that training never saw.
"""

from collections.abc import Iterator

import numpy as np

FULL_NAME = "digits/1.0.0"
SPLITS = {"train": (0, 1297), "validation": (1297, 1437), "test": (1437, 1797)}


class DigitsImages:
    """A split of the digits, read by index: {"image": uint8 [8, 8, 1], "label": int32 []}.

    Args:
        split: "train", "validation" or "test".
    """

    def __init__(self, split: str) -> None:
        self.images = load_digits(split)

    def __len__(self) -> int:
        return len(self.images["image"])

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {key: array[index] for key, array in self.images.items()}

    def blocks(self, limit: int | None = None) -> Iterator[dict[str, np.ndarray]]:
        """Yields the first images, at most `limit`, as one block [n, 8, 8, 1]."""
        yield {key: array[:limit] for key, array in self.images.items()}


def load_digits(split: str) -> dict[str, np.ndarray]:
    """Returns a split of the digits, in file order.

    Args:
        split: "train", "validation" or "test".

    Returns:
        {"image": uint8 [N, 8, 8, 1] in [0, 17), "label": int32 [N]}.
    """
    from sklearn import datasets  # takes a second, which readers of other data need not wait for

    digits = datasets.load_digits()
    chosen = slice(*SPLITS[split])
    return {
        "image": digits.images[chosen].astype(np.uint8)[..., None],
        "label": digits.target[chosen].astype(np.int32),
    }
