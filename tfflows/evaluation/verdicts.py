"""Verdicts on a set of images, as a CSV file and as a page of the strangest of them."""

import base64
import csv
import dataclasses
import html
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from tfflows.errors import explained_os_errors
from tfflows.evaluation.calibration import Calibration, largest_rank
from tfflows.evaluation.images import tile

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #1c2024; --soft: #5d6670; --line: #dfe3e8; --paper: #fff; --flag: #b42318 }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e8eaed; --soft: #9aa3ad; --line: #343a41; --paper: #16191d; --flag: #ff8a7a }}
}}
body {{ margin: 0 auto; max-width: 72rem; padding: 2.5rem 1.5rem; background: var(--paper); color: var(--ink);
       font: 16px/1.5 system-ui, sans-serif }}
h1 {{ font-size: 1.5rem; line-height: 1.25; margin: 0 0 .5rem; overflow-wrap: anywhere }}
p {{ max-width: 46rem; margin: .5rem 0 }}
.note {{ color: var(--soft); font-size: .875rem }}
ol {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: 1.5rem 1rem; list-style: none;
     margin: 2rem 0 0; padding: 0 }}
img {{ width: 100%; image-rendering: pixelated; border: 1px solid var(--line); border-radius: 4px; display: block }}
.name {{ font-size: .8125rem; margin-top: .375rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }}
.figures {{ color: var(--soft); font-size: .8125rem; font-variant-numeric: tabular-nums }}
.flagged .figures {{ color: var(--flag) }}
.flagged img {{ border-color: var(--flag); outline: 1px solid var(--flag) }}
</style>
<h1>{title}</h1>
<p>{sentence}</p>
<p class="note">p is the share of held-out images of the model's own data that are at least as strange, by the score
{score}; flagged are those with p up to {rate:g}. Images that are simpler than the model's data (blank ones, for
example) can be likely under a model and pass.</p>
<ol>
{items}
</ol>
</html>
"""
ITEM = """<li{flagged}><img src="data:image/png;base64,{png}" alt="{name}">
<div class="name" title="{name}">{name}</div><div class="figures">p {p:.2g} · {score:.3f}</div></li>"""


@dataclasses.dataclass(frozen=True, eq=False)
class Verdicts:
    """What a calibration says of images.

    Args:
        names: of the images.
        scores: [N].
        p_values: [N].
        alarms: booleans [N], p-values of at most `false_alarm_rate`.
        false_alarm_rate: between 0 and 1.
        score: the name of the score.
        num_held_out: the number of images that it was calibrated on.
    """

    names: Sequence[str]
    scores: np.ndarray
    p_values: np.ndarray
    alarms: np.ndarray
    false_alarm_rate: float
    score: str
    num_held_out: int

    def sentence(self) -> str:
        """Returns how many images are flagged, and how many would be if all were of the model's own data."""
        number = len(self.names)
        low, high = expected_alarms(number, self.num_held_out, self.false_alarm_rate)
        return (
            f"{self.alarms.sum():,} of {number:,} images are flagged at a false-alarm rate of "
            f"{self.false_alarm_rate:.3g}; of as many images of the model's own data it would be {low:,} to {high:,} "
            "(95 % interval)."
        )


def judge(calibration: Calibration, names: Sequence[str], images: np.ndarray, false_alarm_rate: float) -> Verdicts:
    """Returns the verdicts on images [N, H, W, C] of these names; errors are those of `Calibration.threshold`."""
    calibration.threshold(false_alarm_rate)  # refuses a rate before the images are scored, which takes time
    values = calibration.scores(images)
    p_values = calibration.p_value_of_scores(values)
    alarms = p_values <= false_alarm_rate
    held_out = len(calibration.held_out)
    return Verdicts(names, values, p_values, alarms, false_alarm_rate, calibration.score, held_out)


def expected_alarms(number: int, num_held_out: int, false_alarm_rate: float, level: float = 0.95) -> tuple[int, int]:
    """Returns the central interval of the number of false alarms among images of the held-out ones' kind.

    The number is beta-binomial, since the held-out images are a sample too: with k = floor(rate (n + 1)), the rate of
    one held-out set is Beta(k, n + 1 - k).

    Args:
        number: of images.
        num_held_out: n.
        false_alarm_rate: with k >= 1.
        level: of the interval.
    """
    k = largest_rank(false_alarm_rate, num_held_out)
    low, high = stats.betabinom(number, k, num_held_out + 1 - k).interval(level)
    return int(low), int(high)


def write(
    verdicts: Verdicts, images: np.ndarray, folder: str | Path, title: str, num_values: int = 256, num: int = 100
) -> tuple[Path, Path]:
    """Writes `scores.csv`, in the order of the images, and `strangest.html`, from the strangest image on.

    Args:
        verdicts: of the images.
        images: integers [N, H, W, C].
        folder: where the two go; made if it is not there.
        title: of the page.
        num_values: the number of grey values.
        num: the most images on the page.

    Returns:
        The paths of the two files.

    Raises:
        OSError: they cannot be written.
    """
    folder = Path(folder).expanduser()
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["file", verdicts.score, "p_value", "flagged"])
    rows = zip(verdicts.names, verdicts.scores, verdicts.p_values, verdicts.alarms, strict=True)
    for name, score, p, alarm in rows:
        writer.writerow([name, f"{score:.6f}", f"{p:.6g}", "yes" if alarm else "no"])
    items = []
    strangest = np.argsort(-np.nan_to_num(verdicts.scores, nan=np.inf, posinf=np.inf), kind="stable")
    for index in strangest[:num]:
        flagged = ' class="flagged"' if verdicts.alarms[index] else ""
        png = base64.b64encode(tile(images[index], num_values)).decode()
        name, p, score = html.escape(verdicts.names[index]), verdicts.p_values[index], verdicts.scores[index]
        items.append(ITEM.format(flagged=flagged, png=png, name=name, p=p, score=score))
    page = PAGE.format(
        title=html.escape(title),
        sentence=verdicts.sentence(),
        score=verdicts.score.replace("_", " "),
        rate=verdicts.false_alarm_rate,
        items="\n".join(items),
    )
    paths = folder / "scores.csv", folder / "strangest.html"
    with explained_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(paths, (table.getvalue(), page), strict=True):
            partial = path.with_name(f".{path.name}.{os.getpid()}")
            try:
                partial.write_text(text, "utf-8", "backslashreplace")  # names of files need not be UTF-8
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
    return paths
