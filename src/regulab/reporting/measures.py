"""Numbers of single runs, and how an arm's runs differ from the baseline's of the same seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from regulab.records import DIVERGED, StudyRecords
from regulab.statistics.intervals import ANY, Bounds, Interval, mean_interval

BySeed = Mapping[int, float]


@dataclass(frozen=True)
class Difference:
    """arm − baseline over the seeds that both have: mean, t interval, and how often it is below zero."""

    mean: float
    interval: Interval | None
    pairs: int
    below: int


def column(records: StudyRecords, arm: str, name: str) -> BySeed:
    """A column of the results by seed, over the arm's completed runs that have it."""
    found = {r.seed: getattr(r, name) for r in records.results if r.arm == arm and r.status != DIVERGED}
    return {seed: float(value) for seed, value in sorted(found.items()) if value is not None}


def gaps(records: StudyRecords, arm: str) -> BySeed:
    """Training accuracy minus test accuracy, in points, of the final weights (inference mode)."""
    train, test = column(records, arm, "train_accuracy"), column(records, arm, "test_accuracy")
    return {seed: train[seed] - test[seed] for seed in train if seed in test}


def stopped_early(records: StudyRecords, arm: str) -> BySeed:
    """How many epochs the completed runs took that stopped before the study's last epoch."""
    planned = int(records.study["train"]["epochs"])
    return {seed: epochs for seed, epochs in column(records, arm, "epochs").items() if epochs < planned}


def final_validation_accuracy(records: StudyRecords, arm: str) -> BySeed:
    """Validation accuracy after each completed run's last epoch."""
    completed = column(records, arm, "epochs")
    last: dict[int, float] = {}
    for line in sorted(records.history, key=lambda line: line.epoch):
        if line.arm == arm and line.seed in completed and line.val_accuracy is not None:
            last[line.seed] = line.val_accuracy
    return last


def target_accuracy(records: StudyRecords, baseline: str) -> float | None:
    """One point under the baseline's mean final validation accuracy, rounded down to a tenth."""
    finals = list(final_validation_accuracy(records, baseline).values())
    return math.floor(10 * (float(np.mean(finals)) - 1)) / 10 if finals else None


def epochs_to(records: StudyRecords, arm: str, target: float) -> BySeed:
    """The epoch from which validation accuracy never falls below ``target`` again, for the runs that stay there.

    Of completed runs, to their last epoch. The *first* epoch at the target would flatter noisy curves: one lucky epoch
    counts, however far the next ones fall. An epoch without a finite value counts as below.
    """
    completed = column(records, arm, "epochs")
    below: dict[int, int] = dict.fromkeys(completed, 0)
    last: dict[int, int] = {}
    for line in records.history:
        if line.arm == arm and line.seed in completed:
            last[line.seed] = max(line.epoch, last.get(line.seed, 0))
            if line.val_accuracy is None or line.val_accuracy < target:
                below[line.seed] = max(line.epoch, below[line.seed])
    return {seed: float(below[seed] + 1) for seed in last if below[seed] < last[seed]}


def mean(values: BySeed) -> float:
    return float(np.mean(list(values.values())))


def difference(arm: BySeed, baseline: BySeed, bounds: Bounds = ANY) -> Difference | None:
    """The paired difference, which can be within ``bounds``; None where the two share no seed."""
    d = np.array([arm[seed] - baseline[seed] for seed in arm if seed in baseline])
    if len(d) == 0:
        return None
    return Difference(float(d.mean()), mean_interval(d, bounds=bounds), len(d), int((d < 0).sum()))
