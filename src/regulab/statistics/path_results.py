"""What a path came to: every strength with its measures, and the strength that validation chooses.

All numbers are over the seeds that have finished at every strength and in the baseline.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from regulab.config.metrics import BRIER, NLL
from regulab.errors import UserError
from regulab.records import DIVERGED, EpochRecord, Result, StudyRecords
from regulab.statistics.choice import Rule, choice_frequencies, choose
from regulab.statistics.intervals import Interval, bounds_of, bounds_of_difference, mean_interval
from regulab.statistics.strength_path import StrengthPath
from regulab.statistics.values import by_arm

Values = NDArray[np.float64]
Edge = Literal["weakest", "strongest"]
# What chooses, by endpoint: loss where losses or probabilities decide, accuracy elsewhere.
VALIDATION: Mapping[str, str] = {"test_loss": "val_loss", NLL: "val_loss", BRIER: "val_loss"}


@dataclass(frozen=True, kw_only=True)
class OverSeeds:
    """A measure over the seeds: of each its value, their mean and the 95 % t interval of that."""

    values: tuple[float, ...]
    mean: float
    ci95: Interval | None


@dataclass(frozen=True, kw_only=True)
class PathPoint:
    """An arm: its ``strength`` (None: the baseline), which seeds ``diverged``, and its ``measures`` by name.

    Of an arm with diverged runs there are none: a mean over the others would flatter it. ``difference`` is that of the
    endpoint on the test split to the baseline, paired by seed.
    """

    arm: str
    strength: float | None
    diverged: tuple[int, ...]
    measures: Mapping[str, OverSeeds]
    difference: OverSeeds | None = None


@dataclass(frozen=True, kw_only=True)
class PathChoice:
    """What a rule chooses from the validation scores.

    ``frequencies``: arm by arm how often other seeds would choose it (`choice_frequencies`); None with one seed.
    ``edge``: at which end of the path the choice lies. ``held_out``: the mean difference to the baseline on the test
    split when for each seed the strength is chosen by the other seeds alone; None where they are too few.
    """

    rule: Rule
    arm: str
    strength: float
    edge: Edge | None
    frequencies: Mapping[str, float] | None
    held_out: float | None


@dataclass(frozen=True, kw_only=True)
class PathResults:
    """A path and all that is known of it. ``choices`` is empty, with the reason in ``nothing``, where none is made."""

    path: StrengthPath
    metric: str
    chosen_by: str
    protocol: str
    seeds: tuple[int, ...]
    planned: int
    baseline: PathPoint
    points: tuple[PathPoint, ...]
    choices: tuple[PathChoice, ...]
    nothing: str = ""

    def point(self, arm: str) -> PathPoint:
        return next(one for one in self.points if one.arm == arm)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def path_results(records: StudyRecords, path: StrengthPath) -> PathResults:
    """Everything from the records of a path's run directory."""
    baseline, arms = records.study["baseline"], list(path.strengths)
    metric = records.study["endpoint"]["metric"]
    runs = {(one.arm, one.seed): one for one in records.results}
    asked = tuple(records.study["seeds"])
    seeds = tuple(sorted(seed for seed in asked if all((arm, seed) in runs for arm in (baseline, *arms))))
    lines = _validated(records, runs)
    base = _point(records, runs, lines, baseline, None, seeds)
    points = []
    for arm in arms:
        point = _point(records, runs, lines, arm, path.strengths[arm], seeds)
        points.append(_against(point, base, metric))
    chosen_by = VALIDATION.get(metric, "val_accuracy")
    choices, nothing = _choices(points, path, metric, chosen_by, len(seeds))
    return PathResults(
        path=path,
        metric=metric,
        chosen_by=chosen_by,
        protocol=records.study["protocol"]["kind"],
        seeds=seeds,
        planned=len(asked),
        baseline=base,
        points=tuple(points),
        choices=choices,
        nothing=nothing,
    )


def _validated(
    records: StudyRecords, runs: Mapping[tuple[str, int], Result]
) -> dict[tuple[str, int], EpochRecord]:
    """Run -> its line of the epoch whose weights were tested: the last, or the best one where a run returns to it."""
    study = records.study
    found: dict[tuple[str, int], EpochRecord] = {}
    for line in records.history:
        run = runs.get((line.arm, line.seed))
        if run is None or run.status == DIVERGED:
            continue
        best = study["endpoint"]["epoch"] == "best_val" or "early_stopping" in study["arms"][line.arm]
        if line.epoch == (run.best_epoch if best else run.epochs):
            found[line.arm, line.seed] = line
    return found


def _point(
    records: StudyRecords,
    runs: Mapping[tuple[str, int], Result],
    lines: Mapping[tuple[str, int], EpochRecord],
    arm: str,
    strength: float | None,
    seeds: Sequence[int],
) -> PathPoint:
    diverged = tuple(seed for seed in seeds if runs[arm, seed].status == DIVERGED)
    if diverged or not seeds:
        return PathPoint(arm=arm, strength=strength, diverged=diverged, measures={})
    own = [(runs[arm, seed], lines.get((arm, seed))) for seed in seeds]
    measures = {
        name: _measured([reading(*one) for one in own], "" if name == "gap" else name)
        for name, reading in READINGS.items()
    }
    if (metric := records.study["endpoint"]["metric"]) not in READINGS:
        values = by_arm(records, metric)[arm]
        measures[metric] = _measured([values.get(seed) for seed in seeds], metric)
    return PathPoint(
        arm=arm,
        strength=strength,
        diverged=(),
        measures={name: one for name, one in measures.items() if one is not None},
    )


def _gap(run: Result, line: EpochRecord | None) -> float | None:
    """Train − validation accuracy, both of the same weights in inference mode."""
    if run.train_accuracy is None or line is None or line.val_accuracy is None:
        return None
    return run.train_accuracy - line.val_accuracy


READINGS: Mapping[str, Callable[[Result, EpochRecord | None], float | None]] = {
    "val_accuracy": lambda run, line: None if line is None else line.val_accuracy,
    "test_accuracy": lambda run, line: run.test_accuracy,
    "val_loss": lambda run, line: None if line is None else line.val_loss,
    "test_loss": lambda run, line: run.test_loss,
    "train_accuracy": lambda run, line: run.train_accuracy,
    "gap": _gap,
    "zero_fraction": lambda run, line: run.zero_fraction,
    "weight_norm_l1": lambda run, line: run.weight_norm_l1,
    "weight_norm_l2": lambda run, line: run.weight_norm_l2,
}


def _measured(values: Sequence[float | None], metric: str, *, difference: bool = False) -> OverSeeds | None:
    """None where a run lacks the measure, or it is not finite."""
    known = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    if not len(known) or not bool(np.isfinite(known).all()):
        return None
    bounds = bounds_of_difference(metric) if difference else bounds_of(metric) if metric else (-100.0, 100.0)
    return OverSeeds(
        values=tuple(known.tolist()), mean=float(known.mean()), ci95=mean_interval(known, bounds=bounds)
    )


def _against(point: PathPoint, base: PathPoint, metric: str) -> PathPoint:
    mine, theirs = point.measures.get(metric), base.measures.get(metric)
    if mine is None or theirs is None:
        return point
    d = [a - b for a, b in zip(mine.values, theirs.values, strict=True)]
    return PathPoint(
        arm=point.arm,
        strength=point.strength,
        diverged=point.diverged,
        measures=point.measures,
        difference=_measured(d, metric, difference=True),
    )


def _choices(
    points: Sequence[PathPoint], path: StrengthPath, metric: str, chosen_by: str, seeds: int
) -> tuple[tuple[PathChoice, ...], str]:
    """By every rule that so many seeds permit; else why there is none."""
    if not seeds:
        return (), "no seed has finished at every strength"
    sign = -1 if chosen_by == "val_loss" else 1
    rows = [
        sign * np.array(one.measures[chosen_by].values)
        if chosen_by in one.measures
        else np.full(seeds, np.nan)
        for one in points
    ]
    scores = np.stack(rows)
    rules: list[Rule] = ["best", "one_standard_error"] if seeds > 1 else ["best"]
    try:
        return tuple(_choice(points, path, scores, rule) for rule in rules), ""
    except UserError as nothing:
        return (), nothing.problem


def _choice(points: Sequence[PathPoint], path: StrengthPath, scores: Values, rule: Rule) -> PathChoice:
    chosen = choose(scores, rule)
    edge: Edge | None = "weakest" if chosen == 0 else "strongest" if chosen == len(points) - 1 else None
    shares = choice_frequencies(scores, rule).tolist() if scores.shape[1] > 1 else None
    return PathChoice(
        rule=rule,
        arm=points[chosen].arm,
        strength=path.strengths[points[chosen].arm],
        edge=edge,
        frequencies=None if shares is None else dict(zip(path.strengths, shares, strict=True)),
        held_out=_held_out(points, scores, rule),
    )


def _held_out(points: Sequence[PathPoint], scores: Values, rule: Rule) -> float | None:
    """Mean over seeds of the difference on the test split, at the strength that the other seeds choose.

    No seed takes part in choosing what it is tested at, so that the luck of its own networks does not enter twice.
    """
    seeds = scores.shape[1]
    if seeds < (2 if rule == "best" else 3):
        return None
    found = []
    for seed in range(seeds):
        difference = points[choose(np.delete(scores, seed, axis=1), rule)].difference
        if difference is None:
            return None
        found.append(difference.values[seed])
    return float(np.mean(found))
