"""Arms of several run directories against one baseline: explored, as nobody declared beforehand what is compared.

Two runs are a pair where they have the seed, the hash of the initial weights and the order of the images in every epoch
that both trained; arms of one study are, by their seeds. An arm is compared pair by pair where at least half of the
smaller number of runs are pairs, by the tests of a study (`regulab.statistics.sign_flip`); otherwise all its runs with
all the baseline's, as two samples (`regulab.statistics.two_samples`), which needs more seeds. Holm's correction goes
over all arms that are shown.

The number of seeds is taken for fixed. Where seeds were added to a study after its verdict was read, it is not, and
neither its arms nor others against a baseline of it are judged here: they are described.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from regulab.errors import UserError
from regulab.records import DIVERGED, FIXED
from regulab.statistics import looks, notes
from regulab.statistics.arms import ArmComparison, missing_runs
from regulab.statistics.comparison import Comparison, cut_note
from regulab.statistics.differences import Pairs, pairs_of
from regulab.statistics.ensembles import Ensembles
from regulab.statistics.holm import holm
from regulab.statistics.intervals import bounds_of, bounds_of_difference, mean_interval
from regulab.statistics.member_arms import MemberArm, arms_of_members, baseline_of, is_pair
from regulab.statistics.pairing import pairing_gain
from regulab.statistics.question import Question, question_of
from regulab.statistics.same_test_set import (
    Member,
    differences_in_words,
    refuse_incomparable,
    shared_warnings,
)
from regulab.statistics.sign_flip import smallest_p
from regulab.statistics.two_samples import (
    smallest_two_sample_p,
    two_sample_equivalence_p,
    two_sample_p,
    welch_interval,
)
from regulab.statistics.values import METRICS, margin_of, test_images
from regulab.statistics.verdicts import ALPHA, Evidence, decide, direction
from regulab.streams import Streams
from regulab.wording import named, quoted

EXPLORED = (
    "arms of several studies, side by side: explored, not confirmed. The correction counts the arms shown here, not "
    "what else could have been compared"
)


@dataclass(frozen=True, kw_only=True)
class Across:
    """A comparison whose arms come from several studies; ``paired`` says how each one was compared."""

    comparison: Comparison
    members: tuple[Member, ...]
    origins: dict[str, tuple[str, str]]  # of each arm: the label of its study, and its name there
    paired: dict[str, bool | None]  # None: not compared

    def to_json(self) -> dict[str, Any]:
        """As of a single study, with ``studies``, and with ``study``, ``arm`` and ``paired`` in each arm."""
        content = self.comparison.to_json()
        for name, arm in content["arms"].items():
            study, own = self.origins[name]
            arm |= {"study": study, "arm": own, "paired": self.paired[name]}
        content["answer"] = None  # of several studies, which asked for none
        studies = {member.label: str(member.directory) for member in self.members}
        return {**content, "studies": studies}


@dataclass(frozen=True)
class _TestedAcross:
    p: float | None = None
    equivalence: float | None = None


def compare_across(
    members: Sequence[Member], *, baseline: str | None = None, metric: str | None = None
) -> Across:
    """Every arm of the members against ``baseline``, by default that of the first.

    Raises `UserError` where numbers of two of them cannot stand side by side, and for an unknown arm or metric.
    """
    refuse_incomparable(members, metric)
    metric = str(members[0].records.study["endpoint"]["metric"]) if metric is None else metric
    if metric not in METRICS:
        raise UserError("no such metric", got=metric, expected=f"one of {', '.join(METRICS)}")
    arms, repeated = arms_of_members(members, metric)
    base = baseline_of(arms, members, baseline)
    return _Comparer(members, arms, base, metric, repeated).across()


class _Comparer:
    def __init__(
        self,
        members: Sequence[Member],
        arms: Sequence[MemberArm],
        base: MemberArm,
        metric: str,
        repeated: Sequence[str],
    ) -> None:
        self.members, self.arms, self.base, self.metric = tuple(members), arms, base, metric
        self.repeated = repeated
        self.others = [arm for arm in arms if arm is not base]
        self.margin = margin_of(base.member.records, metric)
        self.missing = sum(missing_runs(member.records) for member in members)
        self.planned = sum(len(m.records.arms) * len(m.records.study["seeds"]) for m in members)
        self.lacking = sum(
            result.status != DIVERGED and result.seed not in arm.values
            for arm in arms
            for result in arm.member.records.results
            if result.arm == arm.own
        )
        self.extended = [m.label for m in members if looks.rule_of(m.records) != FIXED]
        self.pairs = {arm.name: self._pairs(arm) for arm in self.others}

    def across(self) -> Across:
        tested = self._tested()
        p = _holm([tested[arm.name].p for arm in self.others])
        equivalence = _holm([tested[arm.name].equivalence for arm in self.others])
        judged = {
            arm.name: self._against(arm, tested[arm.name], one, other)
            for arm, one, other in zip(self.others, p, equivalence, strict=True)
        }
        arms = {arm.name: judged.get(arm.name) or self._alone(arm) for arm in self.arms}
        return Across(
            comparison=self._comparison(arms),
            members=self.members,
            origins={arm.name: (arm.member.label, arm.own) for arm in self.arms},
            paired={
                arm.name: None
                if arm is self.base or not self._comparable(arm)
                else self.pairs[arm.name] is not None
                for arm in self.arms
            },
        )

    def _comparison(self, arms: dict[str, ArmComparison]) -> Comparison:
        studies = [member.records.study for member in self.members]
        epochs = list(dict.fromkeys(str(study["endpoint"]["epoch"]) for study in studies))
        own = shared_warnings(self.members, self.metric)
        differ = differences_in_words(self.members)
        pairs = [pairs is not None for pairs in self.pairs.values()]
        said = [
            EXPLORED,
            *self.repeated,
            self._margin_note(),
            self._extended_note(),
            cut_note(self.metric, arms.values()),
        ]
        return Comparison(
            metric=self.metric,
            epoch=" and ".join(epochs),
            margin=None if self.margin is None else float(self.margin),
            baseline=self.base.name,
            seeds=tuple(sorted({seed for member in self.members for seed in member.records.seeds})),
            protocol=str(studies[0]["protocol"]["kind"]),
            rule=FIXED,
            e_value=None,
            e_threshold=None,
            looks=None,
            first_look=None,
            unfinished=self.missing,
            pairing={"initial_weights": all(pairs), "data_order": all(pairs)},
            baseline_diverged=bool(self.base.diverged),
            note="; ".join(text for text in said if text),
            warnings=(*([differ] if differ else []), *own),
            question=self._question(arms),
            arms=arms,
            ensembles=Ensembles(replace(self.base.member.records, predictions={})),
        )

    def _question(self, arms: Iterable[str]) -> Question:
        """Nobody asked one: what a paragraph on several studies would begin with is in none of them."""
        own = question_of(self.base.member.records, {}, self.lacking)
        none = dict.fromkeys(arms, "")
        return replace(
            own, planned=self.planned, declared_baseline=self.base.name, strengths=none, diverged={}
        )

    def _margin_note(self) -> str | None:
        if self.margin is None:
            return f"{self.metric} is not the endpoint and has no margin: equivalence is not tested"
        declared = {m.label: m.records.study["endpoint"]["margin"] for m in self.members}
        if len({*declared.values()}) == 1:
            return None
        return f"the margin is that of {quoted(self.base.member.label)}, {float(self.margin):g}; others have another"

    def _extended_note(self) -> str | None:
        if not self.extended:
            return None
        return (
            f"to {' and '.join(map(quoted, self.extended))} seeds were added after a verdict was read or until one was "
            "reached: tests at a fixed number of seeds do not hold there, and `regulab compare` of that study alone "
            "has the rule that does"
        )

    def _comparable(self, arm: MemberArm) -> bool:
        return bool(arm.values and self.base.values) and not arm.diverged and not self.base.diverged

    def _pairs(self, arm: MemberArm) -> Pairs | None:
        """The pairs of an arm; None where there are too few, and all runs are two samples."""
        if not self._comparable(arm):
            return Pairs({})
        seeds = [seed for seed in arm.values if seed in self.base.values and is_pair(arm, self.base, seed)]
        if 2 * len(seeds) < min(len(arm.values), len(self.base.values)):
            return None
        return pairs_of(
            {seed: arm.values[seed] for seed in seeds},
            self.base.values,
            accuracy=self.metric in ("test_accuracy", "train_accuracy"),
            images=test_images(self.base.member.records) if self.metric == "test_accuracy" else None,
        )

    def _judgeable(self, arm: MemberArm) -> bool:
        return self._comparable(arm) and not {arm.member.label, self.base.member.label} & {*self.extended}

    def _tested(self) -> dict[str, _TestedAcross]:
        """p of every arm for which it can pass under α, over all arms; not before every run is there."""
        if self.missing or self.lacking:
            return {arm.name: _TestedAcross() for arm in self.others}
        different, equal = self._can_pass(sides=2), self._can_pass(sides=1)
        found = {}
        for arm in self.others:
            key = self.members[0].records.study
            generator = Streams(key.get("key") or key["name"], 0).generator("sign_flip", arm.name)
            p = self._p(arm, generator) if different[arm.name] else None
            margin = self.margin if equal[arm.name] else None
            found[arm.name] = _TestedAcross(
                p, None if margin is None else self._equivalence(arm, margin, generator)
            )
        return found

    def _p(self, arm: MemberArm, generator: np.random.Generator) -> float:
        pairs = self.pairs[arm.name]
        if pairs is not None:
            return pairs.two_sided(generator)
        return two_sample_p(arm.numbers, self.base.numbers, generator)

    def _equivalence(self, arm: MemberArm, margin: Fraction, generator: np.random.Generator) -> float:
        pairs = self.pairs[arm.name]
        if pairs is not None:
            return pairs.equivalence(margin, generator)
        return two_sample_equivalence_p(arm.numbers, self.base.numbers, float(margin), generator)

    def _can_pass(self, *, sides: int) -> dict[str, bool]:
        floors = [self._floor(arm, sides) if self._judgeable(arm) else 1.0 for arm in self.others]
        return {arm.name: p < ALPHA for arm, p in zip(self.others, holm(floors), strict=True)}

    def _floor(self, arm: MemberArm, sides: int) -> float:
        pairs = self.pairs[arm.name]
        if pairs is None:
            return smallest_two_sample_p(len(arm.values), len(self.base.values), sides=sides)
        return smallest_p(len(pairs.by_seed), sides=sides) if pairs.by_seed else 1.0

    def _alone(self, arm: MemberArm) -> ArmComparison:
        values, planned = arm.numbers, len(arm.values) + len(arm.diverged)
        return ArmComparison(
            mean=float(values.mean()) if len(values) else None,
            ci95=mean_interval(values, bounds=bounds_of(self.metric)),
            n=len(values),
            note=notes.divergence(arm.diverged, planned) or (None if len(values) else "no finished run"),
        )

    def _against(
        self, arm: MemberArm, tested: _TestedAcross, p_holm: float | None, equivalence_holm: float | None
    ) -> ArmComparison:
        described = self._described(arm)
        verdict = decide(
            Evidence(
                arm_diverged=bool(arm.diverged),
                baseline_diverged=bool(self.base.diverged),
                direction=direction(self.metric),
                difference=described.difference,
                p_adjusted=p_holm,
                equivalence_p_adjusted=equivalence_holm,
            )
        )
        unjudged = self._comparable(arm) and not self._judgeable(arm)
        return replace(
            described,
            p=tested.p,
            p_holm=p_holm,
            equivalence_p_holm=equivalence_holm,
            p_adjusted=p_holm,
            equivalence_p_adjusted=equivalence_holm,
            verdict=None if unjudged else verdict,
            note=described.note or self._note(arm, tested, unjudged),
        )

    def _described(self, arm: MemberArm) -> ArmComparison:
        alone, pairs = self._alone(arm), self.pairs[arm.name]
        bounds = bounds_of_difference(self.metric)
        if pairs is None:
            return replace(
                alone,
                difference=float(arm.numbers.mean() - self.base.numbers.mean()),
                difference_ci95=welch_interval(arm.numbers, self.base.numbers, bounds=bounds),
            )
        d = pairs.d
        if not len(d):
            return alone
        own, base = (np.array([one.values[seed] for seed in pairs.by_seed]) for one in (arm, self.base))
        return replace(
            alone,
            difference=float(d.mean()),
            difference_ci95=mean_interval(d, bounds=bounds),
            median=float(np.median(list(pairs.shown().values()))),
            differences=pairs.shown(),
            pairs=len(d),
            spread=float(d.std(ddof=1)) if len(d) > 1 else None,
            gain=pairing_gain(own, base),
        )

    def _note(self, arm: MemberArm, tested: _TestedAcross, unjudged: bool) -> str | None:
        pairs = self.pairs[arm.name]
        if not self._comparable(arm):
            return notes.no_pairs(0, baseline_diverged=bool(self.base.diverged))
        how = None if pairs is not None else self._unpaired(arm)
        if self.missing:
            return notes.joined(how, notes.unfinished(self.missing, self.planned))
        if self.lacking:
            return notes.joined(how, notes.lacking(self.lacking, self.metric))
        if unjudged:
            return notes.joined(how, "not judged: seeds were added after a look, see above")
        few = None
        if tested.p is None:
            few = f"too few runs for p to fall under {ALPHA:g} with {len(self.others)} arms (Holm)"
        return notes.joined(
            how, few, *([] if pairs is None else [notes.stands_apart(pairs), notes.no_width(pairs)])
        )

    def _unpaired(self, arm: MemberArm) -> str:
        return (
            f"unpaired with {named(self.base.name)}: no seed, or other initial weights or orders of images; Welch's "
            f"interval, and a permutation test of {len(arm.values)} and {len(self.base.values)} runs"
        )


def _holm(p: Sequence[float | None]) -> list[float | None]:
    adjusted = holm([1.0 if one is None else one for one in p])
    return [None if one is None else q for one, q in zip(p, adjusted, strict=True)]
