"""Accuracy class by class, and which classes are taken for which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulab.records import StudyRecords
from regulab.reporting import measures
from regulab.reporting.measures import BySeed, Difference
from regulab.reporting.sides import runs_of

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class ClassAccuracy:
    """One class in one arm: mean accuracy over the runs in %, and the paired difference to the baseline."""

    number: int
    mean: float
    difference: Difference | None


def confusion(records: StudyRecords, arm: str) -> Counts:
    """How often a class (row) was predicted as a class (column), ``(K, K)``, summed over the arm's runs."""
    classes = len(records.class_names)
    summed = np.zeros(classes * classes, np.int64)
    for run in runs_of(records, arm):
        summed += np.bincount(run.labels * classes + run.predicted, minlength=classes * classes)
    return summed.reshape(classes, classes)


def commonest(counts: Counts, places: int) -> list[tuple[int, int, int]]:
    """The most frequent confusions as (actual, predicted, count), at most ``places``; equal counts by class."""
    off = counts.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:places]
    pairs = zip(*np.unravel_index(order, off.shape), strict=True)
    return [(int(i), int(j), int(off[i, j])) for i, j in pairs if off[i, j]]


def class_accuracies(records: StudyRecords, baseline: str) -> dict[str, list[ClassAccuracy]]:
    """Arm -> its classes that the test split has images of; arms without runs have none."""
    per_arm = {arm: _by_class(records, arm) for arm in records.arms}
    return {
        arm: [
            ClassAccuracy(
                number,
                measures.mean(by_seed),
                None if arm == baseline else measures.difference(by_seed, per_arm[baseline].get(number, {})),
            )
            for number, by_seed in found.items()
        ]
        for arm, found in per_arm.items()
    }


def _by_class(records: StudyRecords, arm: str) -> dict[int, BySeed]:
    """Class -> seed -> accuracy in %, for the classes of the test split."""
    seeds = sorted(seed for name, seed in records.predictions if name == arm)
    found: dict[int, dict[int, float]] = {}
    for seed in seeds:
        run = records.predictions[arm, seed]
        hits = run.labels == run.predicted
        images = np.bincount(run.labels, minlength=len(records.class_names))
        right = np.bincount(run.labels[hits], minlength=len(records.class_names))
        for number in np.flatnonzero(images):
            found.setdefault(int(number), {})[seed] = 100 * float(right[number] / images[number])
    return dict(found)
