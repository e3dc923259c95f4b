"""How far a difference between tuned arms is uncertain because tuning chose one point and might have chosen another.

A study at chosen points, on fresh seeds, measures δ(ĉ) = μ_arm(ĉ_arm) − μ_baseline(ĉ_baseline): its verdict and its t
interval hold for these points. A procedure, "L1, tuned with 16 trials", is worth θ = E δ(ĉ), the mean over tunings with
other seeds. With d̄ the mean difference over n fresh seeds,

    E(d̄ − θ)² = σ²_d/n + E(δ(ĉ) − θ)²,

and what the second term adds is estimated from the trials. Let xᵢ be the mean validation score of trial i over its S
seeds, and σᵢ² the variance of one score of it beside what all trials of a seed share (`noise`). Take xᵢ for the
trial's true worth, draw scores around it as new seeds would, choose by the same rule, ĉ*, and take

    v = mean of (x_ĉ* − x_ĉ)²    over `DRAWS` such tunings, for the arm and for the baseline,

    d̄ ± t_{n−1} · √(s²_d/n + v_arm + v_baseline).

It is the squared distance from the choice that was made, not the variance about the mean choice: means that were
observed spread more than true ones, and the chosen one is the luckiest, so that the distance errs to the safe side.
Assumed: a trial that is better on validation by so much is better on test by as much; the points stay the same; the
choices of the two arms do not pull in opposite directions. Simulated in ``benchmarks/tuning_coverage.py``: the interval
covers θ in 97 to 100 of 100 studies where scores change smoothly over the range, and in 91 at worst, where only two
trials are any good and far apart; without v it is 52 to 95. The price is its width, twice that of the other where the
trials differ by less than their seeds do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from regulab.config.metrics import COLUMN_OF
from regulab.records import DIVERGED, StudyRecords
from regulab.statistics.arms import ArmComparison
from regulab.statistics.choice import Rule, choose
from regulab.statistics.intervals import Interval, bounds_of_difference
from regulab.statistics.trials import Trials, higher_is_better, trials_by_arm
from regulab.streams import Streams
from regulab.wording import named

DRAWS = 500


@dataclass(frozen=True)
class ChoiceSpread:
    """How sure an arm's choice is: ``variance`` v in squared units of the metric, and in which share of tunings with
    other seeds the same trial would be chosen. One seed a trial tells nothing of others: then both are None."""

    variance: float | None
    again: float | None


@dataclass(frozen=True, kw_only=True)
class Procedure:
    """An arm against the baseline, tuning included. ``interval`` is None where it cannot be told."""

    arm: str
    difference: float
    conditional: Interval  # at the points that were chosen
    interval: Interval | None

    def to_json(self) -> dict[str, Any]:
        ends = self.interval
        return {
            "difference": self.difference,
            "at_the_chosen_points_ci95": list(self.conditional),
            "with_the_choice_ci95": None if ends is None else list(ends),
        }


def choice_of(one: Trials, rule: Rule, metric: str, streams: Streams) -> ChoiceSpread:
    """By simulation around the observed means; draws are keyed by the study and the arm."""
    scores = higher_is_better(one.scores, metric)
    if not one.varied:
        return ChoiceSpread(0.0, 1.0)
    if scores.shape[1] < 2:
        return ChoiceSpread(None, None)
    finite = np.flatnonzero(np.isfinite(scores).all(axis=1))
    known, chosen = scores[finite], int(np.flatnonzero(finite == one.chosen)[0])
    means, generator = known.mean(axis=1), streams.generator("choice", one.arm)
    picked = _chosen_by_others(known, rule, generator)
    away = means[picked] - means[chosen]
    return ChoiceSpread(float(np.mean(away**2)), float(np.mean(picked == chosen)))


def _chosen_by_others(
    scores: NDArray[np.float64], rule: Rule, generator: np.random.Generator
) -> NDArray[np.intp]:
    """What `DRAWS` tunings with other seeds would choose of trials with these means and this noise."""
    trials, seeds = scores.shape
    means, deviation = scores.mean(axis=1), np.sqrt(noise(scores))
    if rule == "best":  # by the means alone
        drawn = means + deviation / np.sqrt(seeds) * generator.standard_normal((DRAWS, trials))
        return np.asarray(drawn.argmax(axis=1), dtype=np.intp)
    each = (
        means[:, None] + deviation[:, None] * generator.standard_normal(scores.shape) for _ in range(DRAWS)
    )
    return np.array([choose(one, rule) for one in each], dtype=np.intp)


def noise(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """σᵢ² ``(C,)`` of the scores ``(C, S)`` of each trial, beside what all trials of a seed have in common.

    A trial's own variance over S seeds, and that of the better half of the trials together, which counts as one degree
    of freedom: bad trials (a rate under which some runs hardly train) scatter more than those that are chosen from, and
    two seeds alone tell little.
    """
    kept = min(len(scores), max(2, (len(scores) + 1) // 2))
    best = scores[np.argsort(-scores.mean(axis=1), kind="stable")[:kept]]
    shared = best.mean(axis=0) - best.mean() if kept > 1 else np.zeros(scores.shape[1])
    left = ((scores - scores.mean(axis=1, keepdims=True) - shared) ** 2).sum(axis=1)  # over S − 1
    of_best = ((best - best.mean(axis=1, keepdims=True) - shared) ** 2).sum()
    degrees = scores.shape[1] - 1
    pooled = of_best / (max(1, kept - 1) * degrees)
    found: NDArray[np.float64] = (pooled + left) / (1 + degrees)
    return found


def choices(records: StudyRecords) -> dict[str, ChoiceSpread]:
    """Of every arm that was tuned; nothing in a study that was not."""
    tuned = records.study.get("tuned")
    if tuned is None:
        return {}
    streams = Streams(records.study.get("key") or records.study["name"], 0)
    found = trials_by_arm(tuned)
    return {arm: choice_of(one, tuned["rule"], tuned["metric"], streams) for arm, one in found.items()}


def procedures(
    records: StudyRecords, baseline: str, metric: str, arms: Mapping[str, ArmComparison]
) -> dict[str, Procedure]:
    """Of every arm but the baseline, where both were tuned and there are two pairs or more, on the metric of tuning."""
    tuned = records.study.get("tuned")
    if tuned is None or COLUMN_OF.get(metric, metric) != COLUMN_OF.get(tuned["metric"], tuned["metric"]):
        return {}
    known, found = choices(records), {}
    for arm, one in arms.items():
        told = arm != baseline and {arm, baseline} <= set(known)
        if not told or one.pairs < 2 or one.differences is None:
            continue
        d = np.array(list(one.differences.values()), dtype=np.float64)
        found[arm] = _procedure(arm, d, known[arm], known[baseline], metric)
    return found


def _procedure(
    arm: str, d: NDArray[np.float64], own: ChoiceSpread, base: ChoiceSpread, metric: str
) -> Procedure:
    error, t = float(d.var(ddof=1)) / len(d), float(stats.t.ppf(0.975, len(d) - 1))
    low, high = bounds_of_difference(metric)

    def around(variance: float) -> Interval:
        half, mean = t * float(np.sqrt(variance)), float(d.mean())
        return max(mean - half, low), min(mean + half, high)

    told = own.variance is not None and base.variance is not None
    whole = around(error + (own.variance or 0) + (base.variance or 0)) if told else None
    return Procedure(arm=arm, difference=float(d.mean()), conditional=around(error), interval=whole)


def fresh_validation(records: StudyRecords, arm: str) -> float | None:
    """Mean over the study's own seeds of the endpoint's metric on validation, of the epoch whose weights are tested;
    None where histories do not tell it."""
    endpoint = records.study["endpoint"]
    metric = COLUMN_OF.get(endpoint["metric"], endpoint["metric"])
    column = {"test_accuracy": "val_accuracy", "test_loss": "val_loss"}.get(metric)
    if column is None:
        return None
    best = endpoint["epoch"] == "best_val" or "early_stopping" in records.study["arms"][arm]
    results = {one.seed: one for one in records.results if one.arm == arm and one.status != DIVERGED}
    wanted = {seed: one.best_epoch if best else one.epochs for seed, one in results.items()}
    found = [getattr(e, column) for e in records.history if e.arm == arm and wanted.get(e.seed) == e.epoch]
    values = [value for value in found if value is not None]
    return float(np.mean(values)) if values else None


def procedure_words(tuned: Mapping[str, Any]) -> str:
    """How to read the two intervals, and what the rule does to a verdict."""
    words = (
        "95 % intervals. At the chosen points: of these very strengths and rates, which the verdict speaks of too. "
        f"With the choice: of the procedure, “tuned with {tuned['trials']} trials”, which with other tuning seeds "
        "might have chosen others; it holds where a trial that is better on validation is as much better on test."
    )
    if tuned["seeds"] < 2:
        words += " With one seed a trial nothing tells how far another choice was; two seeds do."
    if tuned["rule"] == "one_standard_error":
        words += (
            " The rule takes the strongest trial within one standard error of the best: it selects for no harm, so "
            "that “equivalent” is what it leans to, and what the best trial would have gained is in part given away."
        )
    return words


def procedure_lines(found: Mapping[str, Procedure], metric: str, trials: int) -> list[str]:
    """A line for each arm below the table of a terminal: both intervals, in words."""
    places = 2 if metric.endswith("accuracy") else 4
    lines = []
    for arm, one in found.items():
        at = f"{one.conditional[0]:+.{places}f} … {one.conditional[1]:+.{places}f}"
        if one.interval is None:
            whole = "with one seed a trial nothing tells what the choice adds"
        else:
            whole = f"with the choice {one.interval[0]:+.{places}f} … {one.interval[1]:+.{places}f}"
        lines.append(f"{named(arm)}, tuned with {trials} trials: at the chosen points {at}, {whole}")
    return lines
