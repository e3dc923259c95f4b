"""Every arm against the baseline: what ``compare`` prints and ``statistics.json`` holds."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulab.errors import UserError
from regulab.records import DIVERGED, RESULT_COLUMNS, Result, StudyRecords
from regulab.statistics.equivalence import equivalence_p
from regulab.statistics.holm import holm
from regulab.statistics.intervals import Interval, mean_interval
from regulab.statistics.pairing import pairing
from regulab.statistics.power import seeds_needed
from regulab.statistics.sign_flip import least_pairs, smallest_p, two_sided_p
from regulab.statistics.verdicts import ALPHA, Evidence, Verdict, decide, direction
from regulab.streams import Streams

_NOT_NUMBERS = ("arm", "seed", "status", "initial_weights_hash", "data_order_hash")
METRICS = tuple(column for column in RESULT_COLUMNS if column not in _NOT_NUMBERS)


@dataclass(frozen=True, kw_only=True)
class ArmComparison:
    """One arm against the baseline, in the unit of the metric. What was not computed is None.

    ``n`` counts the arm's runs that have the metric, ``pairs`` the seeds that the baseline has too;
    ``difference`` is the mean of arm − baseline over the pairs, ``spread`` their standard deviation.
    """

    mean: float | None
    ci95: Interval | None
    n: int
    difference: float | None = None
    difference_ci95: Interval | None = None
    pairs: int = 0
    spread: float | None = None
    p: float | None = None
    p_holm: float | None = None
    equivalence_p_holm: float | None = None
    verdict: Verdict | None = None
    seeds_needed: int | None = None
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        pairs = {field.name: getattr(self, field.name) for field in fields(self)}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in pairs.items()}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All arms in the order of the study, the baseline among them (with a mean and nothing to compare)."""

    metric: str
    epoch: str
    margin: float | None  # in the unit of the metric; None where the metric is not the endpoint
    baseline: str
    seeds: tuple[int, ...]
    protocol: str
    rule: str
    pairing: dict[str, bool]
    note: str | None
    arms: dict[str, ArmComparison]

    def to_json(self) -> dict[str, Any]:
        """The mapping of ``compare --json``; nothing but JSON's own types."""
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        arms = {name: arm.to_json() for name, arm in self.arms.items()}
        return content | {"seeds": list(self.seeds), "pairing": dict(self.pairing), "arms": arms}


def compare(records: StudyRecords, *, baseline: str | None = None, metric: str | None = None) -> Comparison:
    """Every arm against ``baseline`` on ``metric``, by default as the study declares them.

    Pairs are the seeds that both arms have. The family for Holm's correction is every arm of the study
    but the baseline. Monte Carlo tests (above 16 pairs) draw from the stream keyed by the study's name
    and the arm, so that the same records give the same p. Raises `UserError` for an unknown arm or metric.
    """
    endpoint = records.study["endpoint"]
    baseline = records.study["baseline"] if baseline is None else baseline
    metric = endpoint["metric"] if metric is None else metric
    if baseline not in records.arms:
        raise UserError("no such arm", got=baseline, expected=f"one of {', '.join(records.arms)}")
    if metric not in METRICS:
        raise UserError("no such metric", got=metric, expected=f"one of {', '.join(METRICS)}")
    margin = _margin(records) if metric == endpoint["metric"] else None
    return Comparison(
        metric=metric,
        epoch=endpoint["epoch"],
        margin=margin,
        baseline=baseline,
        seeds=records.seeds,
        protocol=records.study["protocol"]["kind"],
        rule="fixed",
        pairing=pairing(records.results),
        note=_margin_note(metric, margin, float(endpoint["margin"])),
        arms=_Comparer(records, baseline, metric, margin).arms(),
    )


def _margin(records: StudyRecords) -> float:
    """The study's margin, but never under one test image (100/N points) where accuracy decides."""
    endpoint = records.study["endpoint"]
    margin = float(endpoint["margin"])
    if endpoint["metric"] != "test_accuracy" or not records.predictions:
        return margin
    return max(margin, 100 / min(len(p.labels) for p in records.predictions.values()))


def _margin_note(metric: str, margin: float | None, declared: float) -> str | None:
    if margin is None:
        return f"{metric} is not the endpoint of the study and has no margin: equivalence is not tested"
    if margin > declared:
        return f"the margin is one test image, {margin:.3g} points: the declared {declared:g} is less"
    return None


@dataclass(frozen=True)
class _Pairs:
    """Paired differences of an arm, with the p-values that could be computed from them."""

    d: NDArray[np.float64]
    p: float | None = None
    equivalence: float | None = None


class _Comparer:
    """The steps of `compare` for one baseline, metric and margin."""

    def __init__(self, records: StudyRecords, baseline: str, metric: str, margin: float | None) -> None:
        self.study, self.baseline, self.metric, self.margin = records.study["name"], baseline, metric, margin
        self.runs: dict[str, list[Result]] = {arm: [] for arm in records.arms}
        for result in records.results:
            self.runs[result.arm].append(result)
        self.tests = len(self.runs) - 1

    def arms(self) -> dict[str, ArmComparison]:
        others = [arm for arm in self.runs if arm != self.baseline]
        pairs = {arm: self._pairs(arm) for arm in others}
        corrected = dict(zip(others, holm([_or_one(pairs[arm].p) for arm in others]), strict=True))
        equivalence = dict(
            zip(others, holm([_or_one(pairs[arm].equivalence) for arm in others]), strict=True)
        )
        return {
            arm: self._plain(arm)
            if arm == self.baseline
            else self._against(arm, pairs[arm], corrected[arm], equivalence[arm])
            for arm in self.runs
        }

    def _values(self, arm: str) -> dict[int, float]:
        """Seed -> value over the runs that completed and have the metric."""
        found = {r.seed: getattr(r, self.metric) for r in self.runs[arm] if r.status != DIVERGED}
        return {seed: float(value) for seed, value in sorted(found.items()) if value is not None}

    def _diverged(self, arm: str) -> list[int]:
        return sorted(result.seed for result in self.runs[arm] if result.status == DIVERGED)

    def _pairs(self, arm: str) -> _Pairs:
        mine, base = self._values(arm), self._values(self.baseline)
        if self._diverged(arm) or self._diverged(self.baseline):
            return _Pairs(np.empty(0))
        d = np.array([mine[seed] - base[seed] for seed in mine if seed in base])
        if len(d) == 0 or smallest_p(len(d)) * self.tests >= ALPHA:
            return _Pairs(d)
        generator = Streams(self.study, 0).generator("sign_flip", arm)
        p = two_sided_p(d, generator)
        return _Pairs(d, p, None if self.margin is None else equivalence_p(d, self.margin, generator))

    def _plain(self, arm: str) -> ArmComparison:
        values = np.array(list(self._values(arm).values()))
        return ArmComparison(
            mean=float(values.mean()) if len(values) else None,
            ci95=mean_interval(values),
            n=len(values),
            note=self._divergence_note(arm) or (None if len(values) else "no finished run"),
        )

    def _against(self, arm: str, pairs: _Pairs, p_holm: float, equivalence: float) -> ArmComparison:
        plain, d = self._plain(arm), pairs.d
        difference = float(d.mean()) if len(d) else None
        evidence = Evidence(
            arm_diverged=bool(self._diverged(arm)),
            baseline_diverged=bool(self._diverged(self.baseline)),
            direction=direction(self.metric),
            difference=difference,
            p_holm=None if pairs.p is None else p_holm,
            equivalence_p_holm=None if pairs.equivalence is None else equivalence,
        )
        verdict = decide(evidence)
        return ArmComparison(
            mean=plain.mean,
            ci95=plain.ci95,
            n=plain.n,
            difference=difference,
            difference_ci95=mean_interval(d),
            pairs=len(d),
            spread=float(d.std(ddof=1)) if len(d) > 1 else None,
            p=pairs.p,
            p_holm=evidence.p_holm,
            equivalence_p_holm=evidence.equivalence_p_holm,
            verdict=verdict,
            seeds_needed=self._seeds_needed(d) if verdict == "undecided" else None,
            note=plain.note or self._note(len(d), pairs.p, verdict),
        )

    def _seeds_needed(self, d: NDArray[np.float64]) -> int | None:
        if len(d) < 2 or self.margin is None:
            return None
        return seeds_needed(float(d.std(ddof=1)), self.margin, self.tests)

    def _divergence_note(self, arm: str) -> str | None:
        seeds = self._diverged(arm)
        if not seeds:
            return None
        text = f"{len(seeds)} of {len(self.runs[arm])} runs diverged (seed {', '.join(map(str, seeds))})"
        return f"{text}; the mean is of the others" if len(seeds) < len(self.runs[arm]) else text

    def _note(self, n: int, p: float | None, verdict: Verdict | None) -> str | None:
        """Why there is no p, or no verdict."""
        if self._diverged(self.baseline):
            return "the baseline diverged: there is nothing sound to compare with"
        if n == 0:
            return "no seed in common with the baseline"
        if n == 1:
            return "one seed allows no test over seeds"
        if p is None:
            return self._floor_note(n)
        if verdict is None:
            return f"the difference is significant, but {self.metric} has no better direction"
        return None

    def _floor_note(self, n: int) -> str:
        arms = "" if self.tests == 1 else f" times {self.tests} arms (Holm)"
        return (
            f"with {n} seeds p cannot fall under {ALPHA:g}: the smallest is {smallest_p(n):.3g}{arms}; "
            f"{least_pairs(self.tests, ALPHA)} seeds are the fewest that can decide"
        )


def _or_one(p: float | None) -> float:
    return 1.0 if p is None else p
