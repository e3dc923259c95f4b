"""Every arm against the baseline: what ``compare`` prints and ``statistics.json`` holds."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from regulab.errors import UserError
from regulab.records import DIVERGED, RESULT_COLUMNS, StudyRecords
from regulab.statistics.arms import ArmComparison, Comparer
from regulab.statistics.pairing import pairing
from regulab.statistics.sequential import e_threshold
from regulab.statistics.verdicts import ALPHA

_NOT_NUMBERS = ("arm", "seed", "status", "initial_weights_hash", "data_order_hash")
METRICS = tuple(column for column in RESULT_COLUMNS if column not in _NOT_NUMBERS)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All arms in the order of the study, the baseline among them (with a mean and nothing to compare)."""

    metric: str
    epoch: str
    margin: float | None  # in the unit of the metric; None where the metric is not the endpoint
    baseline: str
    seeds: tuple[int, ...]
    protocol: str
    rule: str  # fixed, or sequential: the study was looked at while seeds were added
    e_threshold: float | None  # what e must reach under the sequential rule
    looks: int | None
    pairing: dict[str, bool]
    baseline_diverged: bool
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
    but the baseline. Monte Carlo tests (above 16 pairs) draw from the stream keyed by the study's key
    and the arm, so that the same records give the same p. A study that was looked at while seeds were added
    (``records.looks``) is judged by sign e-values at those looks, whoever adds seeds later. Raises `UserError` for an
    unknown arm or metric.
    """
    endpoint = records.study["endpoint"]
    baseline = records.study["baseline"] if baseline is None else baseline
    metric = endpoint["metric"] if metric is None else metric
    if baseline not in records.arms:
        raise UserError("no such arm", got=baseline, expected=f"one of {', '.join(records.arms)}")
    if metric not in METRICS:
        raise UserError("no such metric", got=metric, expected=f"one of {', '.join(METRICS)}")
    margin = _margin(records) if metric == endpoint["metric"] else None
    looks = records.looks
    return Comparison(
        metric=metric,
        epoch=endpoint["epoch"],
        margin=margin,
        baseline=baseline,
        seeds=records.seeds,
        protocol=records.study["protocol"]["kind"],
        rule="fixed" if looks is None else "sequential",
        e_threshold=None if looks is None else e_threshold(max(1, len(records.arms) - 1), ALPHA),
        looks=None if looks is None else len(looks),
        pairing=pairing(records.results, records.orders),
        baseline_diverged=any(r.arm == baseline and r.status == DIVERGED for r in records.results),
        note=_note(records, metric, margin),
        arms=Comparer(records, baseline, metric, margin).arms(),
    )


def _margin(records: StudyRecords) -> float:
    """The study's margin, but never under one test image (100/N points) where accuracy decides."""
    endpoint = records.study["endpoint"]
    margin = float(endpoint["margin"])
    if endpoint["metric"] != "test_accuracy" or not records.predictions:
        return margin
    return max(margin, 100 / min(len(p.labels) for p in records.predictions.values()))


def _note(records: StudyRecords, metric: str, margin: float | None) -> str | None:
    unpaired = "pairing: none, so every arm has streams of its own and a pair shares its seed in name alone"
    notes = [
        _margin_note(metric, margin, float(records.study["endpoint"]["margin"])),
        unpaired if records.study.get("pairing") == "none" else None,
    ]
    return "; ".join(note for note in notes if note) or None


def _margin_note(metric: str, margin: float | None, declared: float) -> str | None:
    if margin is None:
        return f"{metric} is not the endpoint of the study and has no margin: equivalence is not tested"
    if margin > declared:
        return f"the margin is one test image, {margin:.3g} points: the declared {declared:g} is less"
    return None
