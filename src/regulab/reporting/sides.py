"""Which test images an arm gets wrong in most of its runs, which changed sides, and how many chance alone would give.

A single run gets some images wrong by luck. Here an image counts as wrong for an arm if more than half of the arm's
runs misclassify it, and as right otherwise; with one run that is the run itself. Arms are compared over the seeds that
they share. Each count is shown beside its chance level: the same count after swapping labels within seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulab.records import Predictions, StudyRecords
from regulab.statistics.label_swaps import alone_wrong, changed_sides, swaps
from regulab.streams import Streams

Indices = NDArray[np.int64]
Sides = NDArray[np.bool_]


@dataclass(frozen=True)
class Chance:
    """What swaps of labels give for a count: its mean, and in which share of them it is as large or larger."""

    mean: float
    as_large: float
    swaps: int


@dataclass(frozen=True)
class Changed:
    """Test images, ascending, that are ``lost`` to the arm (wrong here, right with the baseline) or ``won``.

    ``chance`` is of the number of both together; None with fewer than two seeds, where swapping changes nothing.
    """

    lost: Indices
    won: Indices
    seeds: int
    chance: Chance | None


def runs_of(records: StudyRecords, arm: str) -> list[Predictions]:
    """The arm's predictions, by ascending seed."""
    return [records.predictions[run] for run in sorted(records.predictions) if run[0] == arm]


def seeds_of(records: StudyRecords, arm: str) -> set[int]:
    """Seeds of the arm's runs that left predictions."""
    return {seed for name, seed in records.predictions if name == arm}


def right(records: StudyRecords, arm: str) -> Sides:
    """Which test images each run of the arm got right, ``(runs, N)``; ``(0, 0)`` without runs."""
    runs = runs_of(records, arm)
    return np.stack([run.labels == run.predicted for run in runs]) if runs else np.zeros((0, 0), bool)


def wrong_runs(records: StudyRecords, arm: str, seeds: Sequence[int]) -> Sides:
    """Which test images the arm's runs of these seeds got wrong, ``(n, N)``."""
    runs = [records.predictions[arm, seed] for seed in seeds]
    return np.stack([run.labels != run.predicted for run in runs])


def compared(records: StudyRecords) -> dict[str, Sides]:
    """Arm -> ``(n, N)`` over the seeds that all arms with runs share; nothing where they share none."""
    arms = [arm for arm in records.arms if seeds_of(records, arm)]
    shared = sorted(set.intersection(*(seeds_of(records, arm) for arm in arms))) if arms else []
    return {arm: wrong_runs(records, arm, shared) for arm in arms} if shared else {}


def mostly(wrong: Sides) -> Sides:
    """``(N,)``, whether more than half of the runs ``(n, N)`` got the image wrong."""
    found: Sides = 2 * wrong.sum(axis=0) > len(wrong)
    return found


def only_here(wrong: Mapping[str, Sides], arm: str) -> Indices:
    """Images that this arm gets wrong and no other arm does."""
    others = [one for name, one in wrong.items() if name != arm]
    if arm not in wrong or not others:
        return np.zeros(0, np.int64)
    return np.flatnonzero(wrong[arm] & ~np.any(others, axis=0))


def only_here_by_chance(runs: Mapping[str, Sides], records: StudyRecords) -> float | None:
    """How many images an arm would be alone to get wrong if arms did nothing; ``runs`` as in `compared`.

    None for one arm, and with fewer than two shared seeds.
    """
    if len(runs) < 2 or len(next(iter(runs.values()))) < 2:
        return None
    return alone_wrong(np.stack(list(runs.values())), stream(records, "only here"))


def everywhere(wrong: Mapping[str, Sides]) -> Indices:
    """Images that every arm gets wrong."""
    return np.flatnonzero(np.all(list(wrong.values()), axis=0)) if wrong else np.zeros(0, np.int64)


def changed(records: StudyRecords, arm: str, baseline: str) -> Changed | None:
    """Images whose side differs between the arm and the baseline; None where they share no seed."""
    seeds = sorted(seeds_of(records, arm) & seeds_of(records, baseline))
    if not seeds:
        return None
    mine, base = (wrong_runs(records, name, seeds) for name in (arm, baseline))
    here, there = mostly(mine), mostly(base)
    lost, won = np.flatnonzero(here & ~there), np.flatnonzero(there & ~here)
    if len(seeds) < 2:
        return Changed(lost, won, len(seeds), None)
    counts = changed_sides(mine, base, swaps(len(seeds), stream(records, arm)))
    as_large = float((counts >= len(lost) + len(won)).mean())
    return Changed(lost, won, len(seeds), Chance(float(counts.mean()), as_large, len(counts)))


def stream(records: StudyRecords, name: str) -> np.random.Generator:
    """The draws of label swaps: the same for the same records."""
    return Streams(records.study.get("key") or records.study["name"], 0).generator("label_swaps", name)
