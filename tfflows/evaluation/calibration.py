"""Verdicts on images: p-values against the scores of held-out images, and thresholds with a stated false-alarm rate.

A score orders images by how unusual they are, and says nothing about where to draw a line. Held-out images of the
training data's kind do: a share `a` of all further images of that kind gets a p-value of at most `a`, whatever the flow
and the score are. How many anomalies do is a question of the score, and no promise.
"""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from tfflows.errors import CorruptError, InputError
from tfflows.evaluation import scores
from tfflows.evaluation.scores import Images
from tfflows.flow import Flow

FILE = "calibration.json"  # beside the weights of a model
NUM_CALIBRATION = 10_000  # validation images that commands calibrate on
DECIMALS = 6  # of the scores that are kept: finer than float32 resolves them
LARGEST = 1e30  # the score of a held-out image of density 0


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """The anomaly scores s_1 .. s_n of held-out images, by which other images are judged.

        p(x) = (1 + #{i : s_i >= s(x)}) / (n + 1)

    For an image that is drawn as the held-out ones were, P(p <= a) <= a for every a, on average over held-out sets;
    for one such set the rate of false alarms is about Beta(a (n + 1), (1 - a) (n + 1)). Made by `scores.calibrate`.

    Args:
        flow: the flow that gives the scores.
        score: the name of the score.
        options: its further arguments.
        held_out: the sorted scores [n].
        labelled: whether the images came with their labels; of a class-conditional flow alone.

    Reference:
        Bates, Candes, Lei, Romano and Sesia 2023, "Testing for outliers with conformal p-values", arXiv 2104.08279,
        equation 2.
    """

    flow: Flow
    score: str
    options: dict[str, Any]
    held_out: np.ndarray
    labelled: bool = False

    def scores(self, images: Images, batch_size: int = 256) -> np.ndarray:
        """Returns the scores [N] of images [N, H, W, C], or of a dict where the calibration is labelled."""
        if not self.labelled and isinstance(images, dict):
            images = {"image": images["image"]}
        return scores.SCORES[self.score](self.flow, images, **self.options, batch_size=batch_size)

    def p_value(self, images: Images, batch_size: int = 256) -> np.ndarray:
        """Returns the p-values [N] of images: small where few held-out images are as strange.

        Args:
            images: integers [N, H, W, C], or a dict where the calibration is labelled.
            batch_size: images that are evaluated at once.
        """
        return self.p_value_of_scores(self.scores(images, batch_size))

    def p_value_of_scores(self, values: ArrayLike) -> np.ndarray:
        """Returns the p-values [N] of scores [N]; a score of NaN counts as stranger than all."""
        # As the held-out scores are, so that equal images have equal scores.
        values = np.round(np.minimum(np.asarray(values, "float64"), LARGEST), DECIMALS)
        below = np.searchsorted(self.held_out, values, side="left")
        return (1 + len(self.held_out) - below) / (len(self.held_out) + 1)

    def threshold(self, false_alarm_rate: float) -> float:
        """Returns the score above which an image's p-value is at most `false_alarm_rate`.

        Raises:
            InputError: the rate is not between 0 and 1, or there are too few held-out images for it.
        """
        return float(self.held_out[len(self.held_out) - largest_rank(false_alarm_rate, len(self.held_out))])

    def is_anomaly(self, images: Images, false_alarm_rate: float, batch_size: int = 256) -> np.ndarray:
        """Returns booleans [N]: whether the p-value is at most `false_alarm_rate`; errors as of `threshold`."""
        self.threshold(false_alarm_rate)  # refuses a rate before the images are scored, which takes time
        return self.p_value(images, batch_size) <= false_alarm_rate

    def save(self, path: str | Path) -> None:
        """Writes everything but the flow to a JSON file."""
        fields = {name: getattr(self, name) for name in ("score", "options", "labelled")}
        held_out = [round(float(value), DECIMALS) for value in self.held_out]
        Path(path).write_text(json.dumps({**fields, "held_out": held_out}) + "\n", "utf-8")

    @classmethod
    def load(cls, flow: Flow, path: str | Path) -> Self:
        """Returns the calibration of a flow from the file that `save` wrote.

        Raises:
            CorruptError: the file is no such file.
        """
        try:
            fields = json.loads(Path(path).read_text("utf-8"))
            held_out = np.asarray(fields.pop("held_out"), "float64")
            if fields["score"] not in scores.SCORES or not len(held_out) or np.any(np.diff(held_out) < 0):
                raise ValueError("no sorted scores")
            return cls(flow, held_out=held_out, **fields)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise CorruptError(f"{path} is no calibration ({error}): write it again with Calibration.save") from error


def largest_rank(false_alarm_rate: float, num_held_out: int) -> int:
    """Returns the largest k >= 1 whose p-value k / (n + 1) is at most a rate, for n held-out images.

    Raises:
        InputError: the rate is not between 0 and 1, or below the smallest p-value.
    """
    if not 0 < false_alarm_rate < 1:
        raise InputError(f"false_alarm_rate is {false_alarm_rate}, expected a number between 0 and 1, as 0.01")
    possible = np.arange(1, num_held_out + 1) / (num_held_out + 1)
    rank = int(np.searchsorted(possible, false_alarm_rate, side="right"))
    if rank == 0:
        needed = math.ceil(1 / false_alarm_rate - 1 - 1e-9)
        raise InputError(
            f"false_alarm_rate is {false_alarm_rate} and {num_held_out} held-out images tell no rate below "
            f"{possible[0]:.2g}: calibrate with at least {needed:,} images, or give a larger rate"
        )
    return rank


def calibrate(
    flow: Flow, images: Images, score: str = "bits_per_dim", *, batch_size: int = 256, **options: Any
) -> Calibration:
    """Returns the `Calibration` of a flow on held-out images: of the training data's kind, and not trained on.

    "typicality" needs an entropy; where none is given, it is the mean bits/dim of every other image, and the rest
    calibrate. A class-conditional flow is calibrated with labels where `images` has them, else as the mixture.

    Args:
        flow: a flow with a dequantizer.
        images: integers [N, H, W, C], or a dict with `image` and `label`.
        score: "bits_per_dim", "typicality" or "input_complexity".
        batch_size: images that are evaluated at once.
        **options: further arguments of the score: `seed`, `entropy`, `coder`.

    Raises:
        InputError: there is no such score.
    """
    if score not in scores.SCORES:
        raise InputError(f"score is {score!r}, expected one of {', '.join(map(repr, scores.SCORES))}")
    labelled = flow.num_classes is not None and isinstance(images, dict) and "label" in images
    if score == "typicality" and "entropy" not in options:
        every_other, images = (_rows(images, slice(first, None, 2)) for first in (0, 1))
        bits = scores.bits_per_dim(flow, every_other, seed=options.get("seed", 0), batch_size=batch_size)
        options["entropy"] = float(bits.mean())
    values = scores.SCORES[score](flow, images, **options, batch_size=batch_size)
    values = np.nan_to_num(values, nan=LARGEST, posinf=LARGEST)  # JSON has no infinity
    return Calibration(flow, score, options, np.round(np.sort(values), DECIMALS), labelled)


def load_calibration(flow: Flow, folder: Path) -> Calibration | None:
    """Returns the calibration in the version folder of a flow's weights, or None where there is none."""
    path = folder / FILE
    return Calibration.load(flow, path) if path.is_file() else None


def _rows(images: Images, rows: slice) -> Images:
    if isinstance(images, dict):
        return {key: value[rows] for key, value in images.items()}
    return images[rows]
