"""How sure an arm's runs are and how often they are right, by bin of confidence and over its seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulab.records import StudyRecords
from regulab.statistics.calibration import BINS, Bins, bins
from regulab.statistics.intervals import PERCENT, mean_interval

Values = NDArray[np.float64]
ENOUGH = 10  # images of a bin in a run, on average: the accuracy of fewer is mostly chance


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """An arm's bins that hold images, ascending; all arrays have shape ``(bins,)``, shares are percentages.

    ``confidence`` and ``accuracy`` are of the images of all ``runs`` together; ``low`` and ``high`` the 95 % t interval
    of the accuracy over runs, NaN where fewer than three have images in the bin; ``images`` how many a run has there
    on average, and ``sure`` the places of the bins where that is `ENOUGH`.
    """

    arm: str
    runs: int
    place: NDArray[np.int64]
    confidence: Values
    accuracy: Values
    low: Values
    high: Values
    images: Values
    sure: NDArray[np.bool_]
    ece: float


def reliability(records: StudyRecords) -> Mapping[str, Reliability]:
    """Arm -> its bins, for the arms that have predictions, in the order of the study."""
    found: dict[str, list[Bins]] = {arm: [] for arm in records.arms}
    for (arm, _), one in sorted(records.predictions.items()):
        found[arm].append(bins(one.confidence, one.labels == one.predicted))
    return {arm: _reliability(arm, runs) for arm, runs in found.items() if runs}


def _reliability(arm: str, runs: list[Bins]) -> Reliability:
    images = np.stack([run.images for run in runs])
    right = np.stack([run.right for run in runs])
    confidence = np.stack([run.confidence for run in runs])
    place = np.flatnonzero(images.sum(0))
    total = images.sum(0)[place]
    ends = [_ends(images[:, m], right[:, m]) for m in place]
    each = np.abs(right - confidence).sum(1) / images.sum(1)
    mean = images.mean(0)[place]
    return Reliability(
        arm=arm,
        runs=len(runs),
        place=place,
        confidence=100 * confidence.sum(0)[place] / total,
        accuracy=100 * right.sum(0)[place] / total,
        low=np.array([low for low, _ in ends]),
        high=np.array([high for _, high in ends]),
        images=mean,
        sure=mean >= ENOUGH,
        ece=float(each.mean()),
    )


def _ends(images: Values, right: Values) -> tuple[float, float]:
    """Of the accuracies of the runs that have images in a bin."""
    there = images > 0
    if there.sum() < 3:
        return np.nan, np.nan
    found = mean_interval(100 * right[there] / images[there], bounds=PERCENT)
    assert found is not None, "three runs have an interval"
    return found


def edges() -> Values:
    """The edges of all bins, in percent ``(BINS + 1,)``."""
    return np.linspace(0, 100, BINS + 1)
