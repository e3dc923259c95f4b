"""One arm against the baseline, by the rule of a fixed number of seeds or by that of seeds added until decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulab.records import DIVERGED, Look, Predictions, Result, StudyRecords
from regulab.statistics.equivalence import equivalence_p
from regulab.statistics.holm import holm
from regulab.statistics.intervals import Interval, mean_interval
from regulab.statistics.mcnemar import McNemar, mcnemar
from regulab.statistics.noise import NoiseSplit, noise_split
from regulab.statistics.pairing import PairingGain, pairing_gain
from regulab.statistics.power import seeds_needed
from regulab.statistics.sequential import Tally, deciding_tally, e_threshold, fewest_pairs, tally
from regulab.statistics.sign_flip import least_pairs, smallest_p, two_sided_p
from regulab.statistics.verdicts import (
    ALPHA,
    Evidence,
    SequentialEvidence,
    Verdict,
    decide,
    decide_sequentially,
    direction,
)
from regulab.streams import Streams


@dataclass(frozen=True, kw_only=True)
class ArmComparison:
    """One arm against the baseline, in the unit of the metric. What was not computed is None.

    ``n`` counts the arm's runs that have the metric, ``pairs`` the seeds that the baseline has too;
    ``difference`` is the mean of arm − baseline over the pairs, ``spread`` their standard deviation.

    Under the sequential rule p and intervals are None; ``e`` is the evidence of a difference and ``e_equivalent`` the
    smaller one of the two that the difference lies within the margin, both at the look that decided, else at the last,
    after ``looked_at`` pairs; each decides from ``e_threshold`` on. ``mcnemar`` stands in for a test over seeds
    where there is one seed. ``gain`` says what pairing brought, ``noise`` splits the variance of test accuracy.
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
    e: float | None = None
    e_equivalent: float | None = None
    e_threshold: float | None = None
    looked_at: int | None = None
    mcnemar: McNemar | None = None
    gain: PairingGain | None = None
    noise: NoiseSplit | None = None
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {field.name: _plain_json(getattr(self, field.name)) for field in fields(self)}


def _plain_json(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class _Pairs:
    """Paired differences of an arm by seed, with the p-values that could be computed from them."""

    by_seed: dict[int, float]
    p: float | None = None
    equivalence: float | None = None

    @property
    def d(self) -> NDArray[np.float64]:
        return np.array(list(self.by_seed.values()))


class Comparer:
    """All arms of a study against one baseline, on one metric, with one margin."""

    def __init__(self, records: StudyRecords, baseline: str, metric: str, margin: float | None) -> None:
        self.baseline, self.metric, self.margin = baseline, metric, margin
        self.stream_key = records.study.get("key") or records.study["name"]
        self.predictions, self.looks = records.predictions, records.looks
        self.runs: dict[str, list[Result]] = {arm: [] for arm in records.arms}
        for result in records.results:
            self.runs[result.arm].append(result)
        self.tests = len(self.runs) - 1

    def arms(self) -> dict[str, ArmComparison]:
        others = [arm for arm in self.runs if arm != self.baseline]
        pairs = {arm: self._pairs(arm) for arm in others}
        if self.looks is not None:
            return {
                arm: self._plain(arm)
                if arm == self.baseline
                else self._sequentially(arm, pairs[arm].by_seed, self.looks)
                for arm in self.runs
            }
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
        """Without p under the sequential rule, where p does not hold."""
        mine, base = self._values(arm), self._values(self.baseline)
        if self._diverged(arm) or self._diverged(self.baseline):
            return _Pairs({})
        pairs = _Pairs({seed: mine[seed] - base[seed] for seed in mine if seed in base})
        d = pairs.d
        if self.looks is not None or len(d) == 0 or smallest_p(len(d)) * self.tests >= ALPHA:
            return pairs
        generator = Streams(self.stream_key, 0).generator("sign_flip", arm)
        p = two_sided_p(d, generator)
        return _Pairs(
            pairs.by_seed, p, None if self.margin is None else equivalence_p(d, self.margin, generator)
        )

    def _plain(self, arm: str) -> ArmComparison:
        values = np.array(list(self._values(arm).values()))
        return ArmComparison(
            mean=float(values.mean()) if len(values) else None,
            ci95=mean_interval(values) if self.looks is None else None,
            n=len(values),
            noise=self._noise(arm),
            note=self._divergence_note(arm) or (None if len(values) else "no finished run"),
        )

    def _described(self, arm: str, d: NDArray[np.float64], seeds: Sequence[int]) -> ArmComparison:
        """The arm and its differences, before anything is inferred from them."""
        mine, base = self._values(arm), self._values(self.baseline)
        return replace(
            self._plain(arm),
            difference=float(d.mean()) if len(d) else None,
            pairs=len(d),
            spread=float(d.std(ddof=1)) if len(d) > 1 else None,
            gain=pairing_gain(np.array([mine[s] for s in seeds]), np.array([base[s] for s in seeds])),
        )

    def _against(self, arm: str, pairs: _Pairs, p_holm: float, equivalence: float) -> ArmComparison:
        """By the rule of a fixed number of seeds."""
        d = pairs.d
        described = self._described(arm, d, list(pairs.by_seed))
        evidence = Evidence(
            arm_diverged=bool(self._diverged(arm)),
            baseline_diverged=bool(self._diverged(self.baseline)),
            direction=direction(self.metric),
            difference=described.difference,
            p_holm=None if pairs.p is None else p_holm,
            equivalence_p_holm=None if pairs.equivalence is None else equivalence,
        )
        verdict = decide(evidence)
        single = self._mcnemar(arm, next(iter(pairs.by_seed))) if len(d) == 1 else None
        return replace(
            described,
            difference_ci95=mean_interval(d),
            p=pairs.p,
            p_holm=evidence.p_holm,
            equivalence_p_holm=evidence.equivalence_p_holm,
            verdict=verdict,
            seeds_needed=self._seeds_needed(d) if verdict == "undecided" else None,
            mcnemar=single,
            note=described.note or self._note(arm, len(d), pairs.p, verdict, single),
        )

    def _sequentially(self, arm: str, by_seed: dict[int, float], looks: Sequence[Look]) -> ArmComparison:
        """By the rule of seeds added until decided: from the recorded looks alone, whatever was trained since."""
        described = self._described(arm, np.array(list(by_seed.values())), list(by_seed))
        seen: list[tuple[Tally, int]] = []
        for seeds in ((), *(look.seeds for look in looks)):
            d = np.array([by_seed[seed] for seed in seeds if seed in by_seed])
            seen.append((tally(d, self.margin), len(d)))
        tallies = [one for one, _ in seen]
        decided = deciding_tally(tallies, self.tests, ALPHA)
        verdict = decide_sequentially(
            SequentialEvidence(
                arm_diverged=bool(self._diverged(arm)),
                baseline_diverged=bool(self._diverged(self.baseline)),
                direction=direction(self.metric),
                looks=tallies,
                tests=self.tests,
            )
        )
        looked_at = next(n for one, n in seen if one is decided)
        return replace(
            described,
            e=decided.e,
            e_equivalent=decided.e_equivalent,
            e_threshold=e_threshold(self.tests, ALPHA),
            looked_at=looked_at,
            verdict=verdict,
            note=described.note or self._sequential_note(described.pairs, looked_at, verdict),
        )

    def _noise(self, arm: str) -> NoiseSplit | None:
        """Of test accuracy, over the arm's completed runs that have predictions."""
        seeds = [seed for seed in self._values(arm) if (arm, seed) in self.predictions]
        if self.metric != "test_accuracy" or len(seeds) < 2:
            return None
        return noise_split(np.stack([_right(self.predictions[arm, seed]) for seed in seeds]))

    def _mcnemar(self, arm: str, seed: int) -> McNemar | None:
        pair = [self.predictions.get((name, seed)) for name in (arm, self.baseline)]
        if pair[0] is None or pair[1] is None or not self.metric.startswith("test_"):
            return None
        return mcnemar(_right(pair[0]), _right(pair[1]))

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

    def _no_pairs_note(self, n: int) -> str | None:
        if self._diverged(self.baseline):
            return "the baseline diverged: there is nothing sound to compare with"
        return "no seed in common with the baseline" if n == 0 else None

    def _note(
        self, arm: str, n: int, p: float | None, verdict: Verdict | None, single: McNemar | None
    ) -> str | None:
        """Why there is no p, or no verdict."""
        if self._no_pairs_note(n):
            return self._no_pairs_note(n)
        if n == 1:
            return "one seed allows no test over seeds" + self._mcnemar_note(arm, single)
        if p is None:
            return self._floor_note(n)
        return self._direction_note(verdict)

    def _sequential_note(self, n: int, looked_at: int, verdict: Verdict | None) -> str | None:
        fewest = fewest_pairs(self.tests, ALPHA, equivalence=True)
        if verdict == "undecided" and not self._no_pairs_note(n) and looked_at < fewest:
            return f"looked at with {looked_at} pairs; {fewest} are the fewest that can decide"
        return self._no_pairs_note(n) or self._direction_note(verdict)

    def _direction_note(self, verdict: Verdict | None) -> str | None:
        if verdict is not None:
            return None
        return f"the difference is significant, but {self.metric} has no better direction"

    def _mcnemar_note(self, arm: str, single: McNemar | None) -> str:
        if single is None:
            return ""
        return (
            f"; McNemar's exact test on this pair of models: {single.only_arm_right} test images only {arm} gets "
            f"right, {single.only_baseline_right} only {self.baseline}, p = {single.p:.3g}. It speaks of these two "
            "trained models, not of their arms: two seeds of one arm differ as well"
        )

    def _floor_note(self, n: int) -> str:
        arms = "" if self.tests == 1 else f" times {self.tests} arms (Holm)"
        return (
            f"with {n} seeds p cannot fall under {ALPHA:g}: the smallest is {smallest_p(n):.3g}{arms}; "
            f"{least_pairs(self.tests, ALPHA)} seeds are the fewest that can decide"
        )


def _right(predictions: Predictions) -> NDArray[np.bool_]:
    right: NDArray[np.bool_] = predictions.labels == predictions.predicted
    return right


def _or_one(p: float | None) -> float:
    return 1.0 if p is None else p
