"""Every arm against the baseline: what ``compare`` prints and ``statistics.json`` holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any

from regulab.config.metrics import refuse_idle_top_k
from regulab.errors import UserError
from regulab.records import DIVERGED, FIXED, EValue, StudyRecords
from regulab.statistics import looks
from regulab.statistics.added_arms import added_arms, note_on_added_arms
from regulab.statistics.answer import answer
from regulab.statistics.arms import ArmComparison, Comparer
from regulab.statistics.ensembles import Ensembles
from regulab.statistics.factorial import Factorial, factorial_of
from regulab.statistics.intervals import bounds_of, bounds_of_difference, is_cut
from regulab.statistics.new_images import note_on_groups
from regulab.statistics.pairing import pairing
from regulab.statistics.probabilities import note_on_missing
from regulab.statistics.question import Question, question_of
from regulab.statistics.sense import warnings_of
from regulab.statistics.sequential import e_threshold
from regulab.statistics.trials import note_on_untuned
from regulab.statistics.tuned import Procedure, procedures
from regulab.statistics.validation_check import ValidationCheck, validation_check
from regulab.statistics.values import IN_TEST_IMAGES, METRICS, ON_TEST_IMAGES, margin_of
from regulab.statistics.verdicts import ALPHA, Verdict
from regulab.wording import named, quoted


@dataclass(frozen=True, kw_only=True)
class FirstLook:
    """What the rule for a fixed number of seeds said before the study went on; for this metric and baseline."""

    seeds: tuple[int, ...]
    verdicts: dict[str, Verdict | None]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All arms in the order of the study, including the baseline (with a mean and nothing to compare)."""

    metric: str
    epoch: str
    margin: float | None  # in the unit of the metric; None where the metric is not the endpoint
    baseline: str
    seeds: tuple[int, ...]
    protocol: str
    rule: str  # fixed, or sequential: seeds were added after a look
    e_value: EValue | None  # the kind of e-values of the sequential rule
    e_threshold: float | None  # what e must reach under the sequential rule
    looks: int | None  # None under the fixed rule, which allows one
    first_look: FirstLook | None  # by the fixed rule, before the study was extended
    unfinished: (
        int  # runs that the study asks for and that are not there; under the fixed rule it waits for them
    )
    pairing: dict[str, bool]
    baseline_diverged: bool
    note: str | None
    warnings: tuple[str, ...]  # what to read before the verdicts, see `sense`
    question: Question  # what was asked, which the answer begins with
    arms: dict[str, ArmComparison]
    ensembles: Ensembles = field(compare=False, repr=False)  # of each arm's seeds, whatever the metric
    validation_check: ValidationCheck | None = None  # the same rule on the validation images; never decides
    added: tuple[str, ...] = ()  # arms that came after a verdict was given
    tuning: Mapping[str, Procedure] = field(default_factory=dict)  # what the choice adds, of each tuned arm
    factorial: Factorial | None = None  # main effects and interactions, where the arms are a full factorial

    @property
    def answer(self) -> str:
        """What was asked and what was found, as one paragraph."""
        return answer(self)

    def to_json(self) -> dict[str, Any]:
        """The mapping of ``compare --json``; nothing but JSON's own types."""
        content = {one.name: getattr(self, one.name) for one in fields(self)}
        arms = {name: arm.to_json() for name, arm in self.arms.items()}
        for name, ensemble in self.ensembles.by_arm.items():
            arms[name]["ensemble"] = ensemble.to_json()
        first = self.first_look and {
            "seeds": list(self.first_look.seeds),
            "verdicts": self.first_look.verdicts,
        }
        warned = {"warnings": list(self.warnings)} if self.warnings else {}
        added = {"added": list(self.added)} if self.added else {}
        tuning = {"tuning": {arm: one.to_json() for arm, one in self.tuning.items()}} if self.tuning else {}
        for apart in ("warnings", "factorial", "ensembles", "question", "added", "tuning"):
            del content[apart]
        return {
            **warned,
            "answer": self.answer,
            **content,
            "seeds": list(self.seeds),
            "pairing": dict(self.pairing),
            "first_look": first,
            "arms": arms,
            **added,
            **tuning,
            "validation_check": None if self.validation_check is None else self.validation_check.to_json(),
            **({} if self.factorial is None else self.factorial.to_json()),
        }


def compare(records: StudyRecords, *, baseline: str | None = None, metric: str | None = None) -> Comparison:
    """Every arm against ``baseline`` on ``metric``, by default as the study declares them.

    Pairs are the seeds that both arms have. p is adjusted over every arm of the study but the baseline. What is drawn
    above 16 pairs (tests of real numbers, the flips that all arms share) comes from streams keyed by the study's key
    and the arm, so that the same records give the same p.

    A study of a fixed number of seeds is judged once all its runs are there; before that it is described. One that was
    looked at and then extended, or whose seeds are added until decided, is judged by e-values at its recorded
    looks (``records.looks``), whoever adds seeds later. Raises `UserError` for an unknown arm or metric, for results
    that are not finite or of no arm of the study, and for looks that no study can have had.
    """
    endpoint = records.study["endpoint"]
    baseline = records.study["baseline"] if baseline is None else baseline
    metric = endpoint["metric"] if metric is None else metric
    _refuse_unknown(records, baseline, metric)
    looks.check(records)
    margin, rule = margin_of(records, metric), looks.rule_of(records)
    fixed = rule == FIXED
    comparer = Comparer(records, baseline, metric, margin)
    arms = comparer.arms()
    now = {arm: one.verdict for arm, one in arms.items() if arm != baseline}
    notes = [*_notes(records, baseline, metric, margin, now), cut_note(metric, arms.values())]
    return Comparison(
        metric=metric,
        epoch=endpoint["epoch"],
        margin=None if margin is None else float(margin),
        baseline=baseline,
        seeds=records.seeds,
        protocol=records.study["protocol"]["kind"],
        rule=rule,
        e_value=None if fixed else looks.kind_of(records.looks),
        e_threshold=None if fixed else e_threshold(max(1, len(records.arms) - 1), ALPHA),
        looks=None if fixed else len(records.looks or ()),
        first_look=_first_look(records, baseline, metric),
        unfinished=comparer.missing,
        pairing=pairing(records.results, records.orders),
        baseline_diverged=any(r.arm == baseline and r.status == DIVERGED for r in records.results),
        note="; ".join(note for note in notes if note) or None,
        warnings=warnings_of(records, metric),
        question=question_of(records, comparer.pairs, comparer.lacking),
        arms=arms,
        added=added_arms(records),
        ensembles=Ensembles(records),
        validation_check=validation_check(records, baseline, metric, now),
        tuning=procedures(records, baseline, metric, arms),
        factorial=factorial_of(records, metric, margin, comparer.values, comparer.missing),
    )


def _refuse_unknown(records: StudyRecords, baseline: str, metric: str) -> None:
    if baseline not in records.arms:
        raise UserError("no such arm", got=baseline, expected=f"one of {', '.join(records.arms)}")
    if metric not in METRICS:
        raise UserError("no such metric", got=metric, expected=f"one of {', '.join(METRICS)}")
    refuse_idle_top_k(metric, len(records.class_names))


def _first_look(records: StudyRecords, baseline: str, metric: str) -> FirstLook | None:
    look = looks.first_fixed_look(records)
    if look is None:
        return None
    then = compare(looks.as_at(records, look), baseline=baseline, metric=metric)
    verdicts = {arm: one.verdict for arm, one in then.arms.items() if arm != baseline}
    if _is_declared(records, baseline, metric):
        verdicts |= looks.verdicts_recorded(look)  # what was read, even if by an older rule
    return FirstLook(seeds=look.seeds, verdicts=verdicts)


def _is_declared(records: StudyRecords, baseline: str, metric: str) -> bool:
    return (baseline, metric) == (records.study["baseline"], records.study["endpoint"]["metric"])


def _notes(
    records: StudyRecords,
    baseline: str,
    metric: str,
    margin: Fraction | None,
    verdicts: Mapping[str, Verdict | None],
) -> list[str | None]:
    declared, as_declared = records.study["baseline"], _is_declared(records, baseline, metric)
    return [
        _margin_note(metric, margin, float(records.study["endpoint"]["margin"])),
        None
        if baseline == declared
        else f"compared with {named(baseline)}, not with the declared baseline {quoted(declared)}: explored, not "
        "confirmed",
        "pairing: none, so every arm has streams of its own and a pair shares its seed in name alone"
        if records.study.get("pairing") == "none"
        else None,
        note_on_missing(records, metric),
        looks.note_on_looks(records),
        note_on_groups(records) if metric in ON_TEST_IMAGES else None,
        looks.note_on_older_rule(records, verdicts) if as_declared else None,
        note_on_added_arms(records, verdicts if as_declared else {}),
        note_on_untuned(records.study),
    ]


def cut_note(metric: str, arms: Iterable[ArmComparison]) -> str | None:
    """Where a t interval would go on beyond what the metric can be."""
    own, apart = bounds_of(metric), bounds_of_difference(metric)
    if not any(is_cut(arm.ci95, own) or is_cut(arm.difference_ci95, apart) for arm in arms):
        return None
    if metric.endswith("accuracy"):
        return "intervals are cut at 0 and 100 %, beyond which no accuracy lies"
    return f"intervals are cut at {own[0]:g}, below which no {metric.replace('_', ' ')} lies"


def _margin_note(metric: str, margin: Fraction | None, declared: float) -> str | None:
    if margin is None:
        return (
            f"{metric} is not the endpoint of the study and has no margin: equivalence is not tested, and what is "
            "found here is explored, not confirmed"
        )
    if metric in IN_TEST_IMAGES and float(margin) > declared:
        return f"the margin is one test image, {float(margin):.3g} points: the declared {declared:g} is less"
    return None
