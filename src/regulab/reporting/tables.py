"""Numbers as cells: the table of arms that heads every report."""

from __future__ import annotations

from dataclasses import dataclass

from regulab.records import StudyRecords
from regulab.reporting.naming import legend
from regulab.statistics import ArmComparison, Comparison
from regulab.statistics.number_words import NOTHING, interval, metric_name, number, places, unit
from regulab.wording import named

__all__ = [
    "NOTHING",
    "Line",
    "Row",
    "decimals",
    "interval",
    "metric_name",
    "number",
    "p_text",
    "p_value",
    "remark",
    "rows",
    "unit",
    "verdict_columns",
]


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


def decimals(comparison: Comparison) -> int:
    """Two places for percentages, four for everything smaller."""
    return places(comparison.metric)


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
            "95 % t interval", "p (adjusted)", "verdict"]  # fmt: skip


def _unit_in_brackets(measured: str) -> str:
    return f" ({measured.strip()})" if measured else ""


def rows(records: StudyRecords, comparison: Comparison) -> list[Row]:
    """The table of arms, in the order of the study."""
    digits = decimals(comparison)
    return [
        Row(
            arm=arm,
            legend=legend(records, arm),
            is_baseline=arm == comparison.baseline,
            seeds=one.n,
            mean=number(one.mean, digits),
            interval=interval(one.ci95, digits),
            difference=number(one.difference, digits, sign=True),
            difference_interval=interval(one.difference_ci95, digits, sign=True),
            p=p_value(one.p_adjusted),
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
