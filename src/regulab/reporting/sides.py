"""Which test images an arm gets wrong in most of its runs, and which changed sides against the baseline.

A single run gets some images wrong by luck. Here an image counts as wrong for an arm if more than half of the
arm's runs misclassify it, and as right otherwise; with one run that is the run itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulab.records import Predictions, StudyRecords

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Changed:
    """Test images, ascending, that are ``lost`` to the arm (wrong here, right with the baseline) or ``won``."""

    lost: Indices
    won: Indices


def runs_of(records: StudyRecords, arm: str) -> list[Predictions]:
    """The arm's predictions, by ascending seed."""
    return [records.predictions[run] for run in sorted(records.predictions) if run[0] == arm]


def right(records: StudyRecords, arm: str) -> NDArray[np.bool_]:
    """Which test images each run of the arm got right, ``(runs, N)``; ``(0, 0)`` without runs."""
    runs = runs_of(records, arm)
    return np.stack([run.labels == run.predicted for run in runs]) if runs else np.zeros((0, 0), bool)


def mostly_wrong(records: StudyRecords) -> dict[str, NDArray[np.bool_]]:
    """Arm -> ``(N,)``, whether more than half of its runs got the image wrong; arms without runs are left out."""
    hits = {arm: right(records, arm) for arm in records.arms}
    return {arm: 2 * (~one).sum(axis=0) > len(one) for arm, one in hits.items() if len(one)}


def only_here(wrong: dict[str, NDArray[np.bool_]], arm: str) -> Indices:
    """Images that this arm gets wrong and no other arm does."""
    others = [one for name, one in wrong.items() if name != arm]
    if arm not in wrong or not others:
        return np.zeros(0, np.int64)
    return np.flatnonzero(wrong[arm] & ~np.any(others, axis=0))


def everywhere(wrong: dict[str, NDArray[np.bool_]]) -> Indices:
    """Images that every arm gets wrong."""
    return np.flatnonzero(np.all(list(wrong.values()), axis=0)) if wrong else np.zeros(0, np.int64)


def changed(wrong: dict[str, NDArray[np.bool_]], arm: str, baseline: str) -> Changed | None:
    """Images whose side differs between the arm and the baseline; None where one of them has no runs."""
    if arm not in wrong or baseline not in wrong:
        return None
    mine, base = wrong[arm], wrong[baseline]
    return Changed(lost=np.flatnonzero(mine & ~base), won=np.flatnonzero(base & ~mine))
