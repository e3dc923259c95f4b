"""One arm against the baseline, by the rule of a fixed number of seeds or by that of seeds added until decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulab.config.metrics import TOP_K
from regulab.config.teachers import teachers_of
from regulab.records import DIVERGED, FIXED, Look, Predictions, StudyRecords
from regulab.statistics import notes
from regulab.statistics.differences import Pairs, pairs_of
from regulab.statistics.families import Families, holm_of
from regulab.statistics.intervals import Interval, bounds_of, bounds_of_difference, mean_interval
from regulab.statistics.looks import kind_of, rule_of, seeds_in_order
from regulab.statistics.mcnemar import McNemar, mcnemar
from regulab.statistics.new_images import difference_with_new_images, mean_with_new_images
from regulab.statistics.noise import NoiseSplit, noise_split
from regulab.statistics.pairing import PairingGain, pairing_gain
from regulab.statistics.power import seeds_needed
from regulab.statistics.sequential import deciding_tally, e_threshold
from regulab.statistics.sign_flip import smallest_p
from regulab.statistics.values import by_arm, test_images
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
    ``differences`` are arm − baseline seed by seed, ``difference`` their mean, ``median`` their median, ``spread``
    their standard deviation.

    ``p_adjusted`` and ``equivalence_p_adjusted`` decide (`step_down`); those of Holm stand beside them for comparison.

    Under the sequential rule p and intervals are None; ``e`` is the evidence of a difference and ``e_equivalent`` the
    smaller one of the two that the difference lies within the margin, both at the look that decided, else at the last,
    after ``looked_at`` pairs; each decides from ``e_threshold`` on. ``mcnemar`` stands in for a test over seeds
    where there is one seed. ``gain`` says what pairing brought, ``noise`` splits the variance of test accuracy.
    ``ci95_images`` and ``difference_ci95_images`` hold for other test images too (`new_images`).
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
    p_adjusted: float | None = None
    equivalence_p_adjusted: float | None = None
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
    median: float | None = None
    differences: Mapping[int, float] | None = None
    ci95_images: Interval | None = None
    difference_ci95_images: Interval | None = None

    def to_json(self) -> dict[str, Any]:
        return {field.name: _plain_json(getattr(self, field.name)) for field in fields(self)}


def _plain_json(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return {str(key): one for key, one in value.items()}
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class _Tested:
    """The p-values of an arm; None where one was not computed."""

    p: float | None = None
    p_holm: float | None = None
    equivalence_p_holm: float | None = None
    p_adjusted: float | None = None
    equivalence_p_adjusted: float | None = None


class Comparer:
    """All arms of a study against one baseline, on one metric, with one margin."""

    def __init__(self, records: StudyRecords, baseline: str, metric: str, margin: Fraction | None) -> None:
        self.baseline, self.metric, self.margin = baseline, metric, margin
        self.key = records.study.get("key") or records.study["name"]
        self.predictions = records.predictions
        self.looks = None if rule_of(records) == FIXED else records.looks
        self.e_value = kind_of(records.looks)
        self.values = by_arm(records, metric)
        self.diverged: dict[str, list[int]] = {arm: [] for arm in records.arms}
        self.runs = dict.fromkeys(records.arms, 0)
        for result in sorted(records.results, key=lambda result: result.seed):
            self.runs[result.arm] += 1
            if result.status == DIVERGED:
                self.diverged[result.arm].append(result.seed)
        self.teachers = teachers_of(records.study["arms"])
        self.tests = len(self.runs) - 1
        self.planned = len(records.arms) * len(records.study["seeds"])
        self.missing = missing_runs(records)
        self.lacking = sum(r.status != DIVERGED and r.seed not in self.values[r.arm] for r in records.results)
        images = test_images(records) if metric in ("test_accuracy", *TOP_K) else None
        counted = metric in ("test_accuracy", "train_accuracy", *TOP_K)
        self.pairs = {
            arm: pairs_of(self.values[arm], self.values[baseline], accuracy=counted, images=images)
            if not self.diverged[arm] and not self.diverged[baseline]
            else Pairs({})
            for arm in self.runs
            if arm != baseline
        }

    def arms(self) -> dict[str, ArmComparison]:
        if self.looks is not None:
            against = {arm: self._sequentially(arm, self.looks) for arm in self.pairs}
        else:
            tested = self._tested()
            against = {arm: self._against(arm, tested[arm]) for arm in self.pairs}
        return {arm: against[arm] if arm in against else self._without_difference(arm) for arm in self.runs}

    def _tested(self) -> dict[str, _Tested]:
        """Sign-flip tests of every arm for which p can pass under α, adjusted over all of these."""
        if self.missing or self.lacking:
            return {arm: _Tested() for arm in self.pairs}
        p: dict[str, float | None] = dict.fromkeys(self.pairs)
        equivalence: dict[str, float | None] = dict.fromkeys(self.pairs)
        for arm, pairs in self.pairs.items():
            generator, n = Streams(self.key, 0).generator("sign_flip", arm), len(pairs.by_seed)
            if n and smallest_p(n) < ALPHA:
                p[arm] = pairs.two_sided(generator)
            if n and smallest_p(n, sides=1) < ALPHA and self.margin is not None:
                equivalence[arm] = pairs.equivalence(self.margin, generator)
        stream = Streams(self.key, 0).generator("sign_flip", epoch=1)  # no arm has an empty name
        families = Families(list(self.pairs.values()), stream)
        adjusted = families.differences(list(p.values()))
        same = families.equivalences(list(equivalence.values()), self.margin)
        holms = holm_of(list(p.values())), holm_of(list(equivalence.values()))
        columns = zip(p.values(), *holms, adjusted, same, strict=True)
        return {arm: _Tested(*found) for arm, found in zip(self.pairs, columns, strict=True)}

    def _without_difference(self, arm: str) -> ArmComparison:
        values = np.array(list(self.values[arm].values()))
        return ArmComparison(
            mean=float(values.mean()) if len(values) else None,
            ci95=mean_interval(values, bounds=bounds_of(self.metric)) if self.looks is None else None,
            n=len(values),
            ci95_images=mean_with_new_images(self.predictions, self.metric, arm, self.values[arm])
            if self.looks is None
            else None,
            noise=self._noise(arm),
            note=notes.joined(notes.divergence(self.diverged[arm], self.runs[arm]), self._lost_teacher(arm))
            or (None if len(values) else "no finished run"),
        )

    def _lost_teacher(self, arm: str) -> str | None:
        teacher = self.teachers.get(arm, "")
        both = set(self.diverged.get(teacher, ())) & set(self.diverged[arm])
        return notes.lost_teacher(teacher, sorted(both))

    def _described(self, arm: str) -> ArmComparison:
        """The arm and its differences, before anything is inferred from them."""
        mine, base, pairs = self.values[arm], self.values[self.baseline], self.pairs[arm]
        d = pairs.d
        return replace(
            self._without_difference(arm),
            difference=float(d.mean()) if len(d) else None,
            median=float(np.median(list(pairs.shown().values()))) if len(d) else None,
            differences=pairs.shown(),
            pairs=len(d),
            spread=float(d.std(ddof=1)) if len(d) > 1 else None,
            gain=pairing_gain(
                np.array([mine[s] for s in pairs.by_seed]), np.array([base[s] for s in pairs.by_seed])
            ),
        )

    def _against(self, arm: str, tested: _Tested) -> ArmComparison:
        """By the rule of a fixed number of seeds."""
        pairs, described = self.pairs[arm], self._described(arm)
        verdict = decide(
            Evidence(
                arm_diverged=bool(self.diverged[arm]),
                baseline_diverged=bool(self.diverged[self.baseline]),
                direction=direction(self.metric),
                difference=described.difference,
                p_adjusted=tested.p_adjusted,
                equivalence_p_adjusted=tested.equivalence_p_adjusted,
            )
        )
        single = self._mcnemar(arm, next(iter(pairs.by_seed))) if len(pairs.by_seed) == 1 else None
        return replace(
            described,
            difference_ci95=mean_interval(pairs.d, bounds=bounds_of_difference(self.metric)),
            **asdict(tested),
            difference_ci95_images=difference_with_new_images(
                self.predictions, self.metric, arm, self.baseline, list(pairs.by_seed)
            ),
            verdict=verdict,
            seeds_needed=self._seeds_needed(pairs) if verdict == "undecided" else None,
            mcnemar=single,
            note=described.note or self._note(arm, tested, verdict, single),
        )

    def _sequentially(self, arm: str, looks: Sequence[Look]) -> ArmComparison:
        """By the rule of seeds added until decided: from the recorded looks alone, whatever was trained since."""
        pairs, described = self.pairs[arm], self._described(arm)
        tallies = [pairs.tally(seeds, self.margin, self.e_value) for seeds in ((), *seeds_in_order(looks))]
        decided = deciding_tally(tallies, self.tests, ALPHA)
        verdict = decide_sequentially(
            SequentialEvidence(
                arm_diverged=bool(self.diverged[arm]),
                baseline_diverged=bool(self.diverged[self.baseline]),
                direction=direction(self.metric),
                looks=tallies,
                tests=self.tests,
            )
        )
        seen = next((look.seeds for one, look in zip(tallies[1:], looks, strict=True) if one is decided), ())
        looked_at = decided.pairs
        return replace(
            described,
            e=decided.e,
            e_equivalent=decided.e_equivalent,
            e_threshold=e_threshold(self.tests, ALPHA),
            looked_at=looked_at,
            verdict=verdict,
            note=described.note or self._sequential_note(arm, looked_at, len(set(seen)) - looked_at, verdict),
        )

    def _noise(self, arm: str) -> NoiseSplit | None:
        """Of test accuracy, over the arm's completed runs that have predictions."""
        right = [
            _correct(self.predictions[arm, seed])
            for seed in self.values[arm]
            if (arm, seed) in self.predictions
        ]
        images = {len(one) for one in right}
        if self.metric != "test_accuracy" or len(right) < 2 or len(images) > 1 or images == {1}:
            return None
        return noise_split(np.stack(right))

    def _mcnemar(self, arm: str, seed: int) -> McNemar | None:
        pair = [self.predictions.get((name, seed)) for name in (arm, self.baseline)]
        if pair[0] is None or pair[1] is None or not self.metric.startswith("test_"):
            return None
        if len(pair[0].labels) != len(pair[1].labels):
            return None
        return mcnemar(_correct(pair[0]), _correct(pair[1]))

    def _seeds_needed(self, pairs: Pairs) -> int | None:
        if len(pairs.d) < 2 or self.margin is None:
            return None
        spread = 0.0 if pairs.all_equal() else float(pairs.d.std(ddof=1))
        return seeds_needed(spread, float(self.margin), self.tests)

    def _note(self, arm: str, tested: _Tested, verdict: Verdict | None, single: McNemar | None) -> str | None:
        """Why there is no p, or no verdict, and what may be wrong with the numbers."""
        pairs = self.pairs[arm]
        n = len(pairs.by_seed)
        nothing = notes.no_pairs(n, baseline_diverged=bool(self.diverged[self.baseline]))
        if nothing:
            return nothing
        if self.missing:
            reason: str | None = notes.unfinished(self.missing, self.planned)
        elif self.lacking:
            reason = notes.lacking(self.lacking, self.metric)
        elif n == 1:
            reason = notes.one_seed(arm, self.baseline, single)
        elif tested.p is None:
            reason = notes.floor(n, equivalence=self.margin is not None)
        else:
            reason = notes.no_direction(self.metric, verdict)
        return notes.joined(reason, notes.stands_apart(pairs), notes.no_width(pairs))

    def _sequential_note(self, arm: str, looked_at: int, lost: int, verdict: Verdict | None) -> str | None:
        pairs = self.pairs[arm]
        nothing = notes.no_pairs(len(pairs.by_seed), baseline_diverged=bool(self.diverged[self.baseline]))
        if nothing:
            return nothing
        return notes.joined(
            notes.too_few_looked_at(looked_at, self.tests, self.e_value) if verdict == "undecided" else None,
            notes.lost_pairs(looked_at, lost),
            notes.no_direction(self.metric, verdict),
            notes.other_side(pairs, verdict, self.margin),
            notes.stands_apart(pairs),
        )


def missing_runs(records: StudyRecords) -> int:
    """How many runs the study has asked for that have no result yet."""
    there = {(result.arm, result.seed) for result in records.results}
    return sum((arm, seed) not in there for arm in records.arms for seed in records.study["seeds"])


def _correct(predictions: Predictions) -> NDArray[np.bool_]:
    right: NDArray[np.bool_] = predictions.labels == predictions.predicted
    return right
