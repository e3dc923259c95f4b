"""Numbers as cells: the table of arms that heads every report."""

from __future__ import annotations

from dataclasses import dataclass

from regulab.config.metrics import BRIER, ECE, NLL, TOP_K
from regulab.records import StudyRecords
from regulab.reporting.naming import legend
from regulab.statistics import ArmComparison, Comparison
from regulab.wording import named

NOTHING = "–"
METRIC_NAMES = {
    NLL: "negative log-likelihood",
    ECE: "expected calibration error",
    BRIER: "Brier score",
    **{name: f"top-{k} accuracy" for name, k in TOP_K.items()},
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One arm in the table of verdicts, ready to print."""

    arm: str
    legend: str
    is_baseline: bool
    seeds: int
    mean: str
    interval: str
    difference: str
    difference_interval: str
    p: str
    verdict: str
    remark: str


def metric_name(metric: str) -> str:
    """``test_accuracy`` as ``test accuracy``, and abbreviations written out."""
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


def unit(metric: str) -> str:
    """What follows a value of the metric: `` %``, `` nats`` or nothing."""
    return " %" if metric.endswith("accuracy") else " nats" if metric.endswith(("loss", NLL)) else ""


def decimals(comparison: Comparison) -> int:
    """Two places for percentages, four for everything smaller."""
    return 2 if comparison.metric.endswith("accuracy") else 4


def number(value: float | None, places: int, *, sign: bool = False) -> str:
    """``99.31``, ``+0.05``, ``−0.05``: a true minus, and a dash for nothing. Zero has no sign."""
    if value is None:
        return NOTHING
    text = f"{abs(value):.{places}f}"
    if float(text) == 0:
        return text
    return ("−" if value < 0 else "+" if sign else "") + text


def interval(pair: tuple[float, float] | None, places: int, *, sign: bool = False) -> str:
    if pair is None:
        return NOTHING
    return f"{number(pair[0], places, sign=sign)} to {number(pair[1], places, sign=sign)}"


def p_value(p: float | None) -> str:
    """Two significant digits, as ``0.03``; ``< 0.001`` below that."""
    if p is None:
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def p_text(p: float | None) -> str:
    """``p = 0.03`` or ``p < 0.001``."""
    shown = p_value(p)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"


@dataclass(frozen=True)
class Line:
    """An arm in a table, ready to print."""

    arm: str
    cells: tuple[str, ...]


def verdict_columns(comparison: Comparison) -> list[str]:
    """The headings of the table of verdicts."""
    measured = f"{metric_name(comparison.metric)}{_unit_in_brackets(unit(comparison.metric))}"
    return ["arm", "seeds", measured, "95 % t interval", f"difference to {named(comparison.baseline)}",
            "95 % t interval", "p (Holm)", "verdict"]  # fmt: skip


def _unit_in_brackets(measured: str) -> str:
    return f" ({measured.strip()})" if measured else ""


def rows(records: StudyRecords, comparison: Comparison) -> list[Row]:
    """The table of arms, in the order of the study."""
    places = decimals(comparison)
    return [
        Row(
            arm=arm,
            legend=legend(records, arm),
            is_baseline=arm == comparison.baseline,
            seeds=one.n,
            mean=number(one.mean, places),
            interval=interval(one.ci95, places),
            difference=number(one.difference, places, sign=True),
            difference_interval=interval(one.difference_ci95, places, sign=True),
            p=p_value(one.p_holm),
            verdict="baseline" if arm == comparison.baseline else one.verdict or NOTHING,
            remark=remark(one),
        )
        for arm, one in comparison.arms.items()
    ]


def remark(one: ArmComparison) -> str:
    """Why there is no verdict, and what would bring one."""
    parts = [one.note] if one.note else []
    if one.seeds_needed is not None:
        if one.seeds_needed > one.pairs:
            parts.append(f"{one.seeds_needed} seeds would find a true difference of one margin 4 times in 5")
        else:
            parts.append(f"{one.pairs} seeds find a true difference of one margin more than 4 times in 5")
    return "; ".join(parts)
