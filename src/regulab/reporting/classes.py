"""Accuracy class by class, with what chance gives, and which classes are mistaken for which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulab.records import StudyRecords
from regulab.reporting import measures
from regulab.reporting.measures import BySeed, Difference
from regulab.reporting.sides import runs_of, stream
from regulab.statistics.intervals import POINTS
from regulab.statistics.label_swaps import largest_mean, max_t_p, swaps
from regulab.statistics.verdicts import ALPHA

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class ClassAccuracy:
    """One class in one arm: mean accuracy over the runs in %, and the paired difference to the baseline."""

    number: int
    mean: float
    difference: Difference | None


@dataclass(frozen=True)
class ClassTests:
    """What chance gives for differences by class, all arms and classes together.

    ``extremes`` is by arm the mean, over label swaps, of the largest difference of any class in points (that of the
    least is its mirror image), for arms with two pairs or more; ``p`` by arm and class is adjusted for all of them
    together (max-T). ``tests`` counts them; ``fewest`` is the least p that so many seeds allow.
    """

    extremes: dict[str, float]
    p: dict[str, dict[int, float]]
    tests: int
    fewest: float

    @property
    def can_tell(self) -> bool:
        return self.fewest < ALPHA

    def differs(self, arm: str, number: int) -> bool:
        return self.can_tell and self.p.get(arm, {}).get(number, 1.0) < ALPHA


def class_tests(records: StudyRecords, baseline: str) -> ClassTests | None:
    """Swaps labels within seeds, the same seeds in every arm; None with fewer than two, where it changes nothing."""
    columns = _differences(records, baseline)
    seeds = sorted({seed for by_seed in columns.values() for seed in by_seed})
    if len(seeds) < 2:
        return None
    d = np.array([[by_seed.get(seed, 0.0) for by_seed in columns.values()] for seed in seeds])
    signs = swaps(len(seeds), stream(records, "classes"))
    adjusted = dict(zip(columns, max_t_p(d, signs).tolist(), strict=True))
    extremes, p = {}, {}
    for arm in dict.fromkeys(arm for arm, _ in columns):
        own = [place for place, (name, _) in enumerate(columns) if name == arm]
        p[arm] = {number: adjusted[name, number] for name, number in columns if name == arm}
        present = [row for row, seed in enumerate(seeds) if any(seed in columns[arm, k] for k in p[arm])]
        if len(present) > 1:
            extremes[arm] = float(largest_mean(d[np.ix_(present, own)], signs[:, present]).mean())
    return ClassTests(extremes, p, len(columns), 2 / len(signs))


def _differences(records: StudyRecords, baseline: str) -> dict[tuple[str, int], dict[int, float]]:
    """(arm, class) -> seed -> difference to the baseline in points, for the seeds that both have."""
    by_arm = {arm: _by_class(records, arm) for arm in records.arms}
    found = {
        (arm, number): {seed: value - base[seed] for seed, value in by_seed.items() if seed in base}
        for arm in records.arms
        if arm != baseline
        for number, by_seed in by_arm[arm].items()
        if (base := by_arm[baseline].get(number, {}))
    }
    return {key: by_seed for key, by_seed in found.items() if by_seed}


def confusion(records: StudyRecords, arm: str) -> Counts:
    """How often a class (row) was predicted as a class (column), ``(K, K)``, summed over the arm's runs."""
    classes = len(records.class_names)
    summed = np.zeros(classes * classes, np.int64)
    for run in runs_of(records, arm):
        summed += np.bincount(run.labels * classes + run.predicted, minlength=classes * classes)
    return summed.reshape(classes, classes)


def commonest(records: StudyRecords, arm: str, places: int) -> list[tuple[int, int, int]]:
    """The most frequent confusions of the arm's runs as (actual, predicted, count), at most ``places``; equal counts by
    class. Only pairs that occur are counted: the matrix of 20,000 classes takes 3 GB."""
    classes, wrong = len(records.class_names), [(run, run.wrong) for run in runs_of(records, arm)]
    codes = [run.labels[images] * classes + run.predicted[images] for run, images in wrong]
    pairs, counts = np.unique(np.concatenate([np.zeros(0, np.int64), *codes]), return_counts=True)
    order = np.argsort(-counts, kind="stable")[:places]
    return [(int(pairs[k] // classes), int(pairs[k] % classes), int(counts[k])) for k in order]


def class_accuracies(records: StudyRecords, baseline: str) -> dict[str, list[ClassAccuracy]]:
    """Arm -> its classes that the test split has images of; arms without runs have none."""
    per_arm = {arm: _by_class(records, arm) for arm in records.arms}
    return {
        arm: [
            ClassAccuracy(
                number,
                measures.mean(by_seed),
                None
                if arm == baseline
                else measures.difference(by_seed, per_arm[baseline].get(number, {}), POINTS),
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
