"""The paired differences of every arm to the baseline: each seed's, their mean and interval, and the margin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regulab.reporting import figure as report
from regulab.reporting.data import ReportData
from regulab.reporting.rendering import FAINT, INK, verbatim
from regulab.reporting.tables import decimals, metric_name, number, unit
from regulab.statistics import ArmComparison
from regulab.wording import listed, named, one_line, quoted

ROW = 0.36  # inches
MARGIN_BAND = "#e8edf2"
SEED = "#57606a"
FARTHEST = 4  # spans of the nearer half of the arms, beyond which an arm is named at the edge
LEAST_PAIRS = 2


@dataclass(frozen=True)
class DifferenceRow:
    """An arm with pairs: what the axis has to reach for it, ``low`` to ``high``, 0 included."""

    arm: str
    found: ArmComparison
    differences: tuple[float, ...]
    mean: float
    low: float
    high: float

    @property
    def reach(self) -> float:
        return max(-self.low, self.high)


def drawings(data: ReportData) -> Iterable[report.Drawing]:
    rows = rows_of(data)
    if rows:
        yield report.Drawing(
            path="figures/regulab-differences",
            title=f"Differences to {named(data.baseline)}",
            words=words(data, rows),
            alternative=alternative(data, rows),
            draw=lambda: draw(data, rows),
        )


def words(data: ReportData, rows: Sequence[DifferenceRow]) -> str:
    """What is drawn, what goes on beyond the axis, and which arms are not there."""
    lines = ", lines 95 % t intervals" if any(row.found.difference_ci95 for row in rows) else ""
    said = [f"Dots are seeds, diamonds their means{lines}; the grey band is the margin."]
    low, high = limits(rows, data.comparison.margin or 0.0)
    if any(row.low < low or row.high > high for row in rows):
        said.append(
            "Where a triangle points, an arm goes on beyond the axis; its mean stands there if that does."
        )
    shown = {data.baseline, *(row.arm for row in rows)}
    absent = [arm for arm in data.comparison.arms if arm not in shown]
    if absent:
        said.append(f"Not drawn, with fewer than {LEAST_PAIRS} pairs: {listed(absent)}.")
    return " ".join(said)


def rows_of(data: ReportData) -> list[DifferenceRow]:
    """The arms with at least two pairs, in the order of the study."""
    rows = []
    for arm, found in data.comparison.arms.items():
        if arm != data.baseline and found.pairs >= LEAST_PAIRS and found.differences:
            each = tuple(found.differences.values())
            seen = [0.0, *each, *(found.difference_ci95 or ())]
            rows.append(DifferenceRow(arm, found, each, float(np.mean(each)), min(seen), max(seen)))
    return rows


def alternative(data: ReportData, rows: Sequence[DifferenceRow]) -> str:
    places = decimals(data.comparison)
    said = [f"{quoted(row.arm)} {number(row.mean, places, sign=True)}" for row in rows]
    return (
        f"Differences of {metric_name(data.comparison.metric)} to {named(data.baseline)}, means over seeds: "
        + ("; ".join(said) + ".")
    )


def draw(data: ReportData, rows: Sequence[DifferenceRow]) -> Figure:
    """A row for each arm; one that lies far out is named at the edge, so that the others can be told apart."""
    comparison, names = data.comparison, data.picture_names
    figure = Figure(figsize=(10, 1.3 + ROW * len(rows)), layout="constrained", facecolor="white")
    axes = figure.subplots()
    low, high = limits(rows, comparison.margin or 0.0)
    places = decimals(comparison)
    if comparison.margin is not None:
        axes.axvspan(-comparison.margin, comparison.margin, color=MARGIN_BAND, zorder=0)
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    for place, row in enumerate(rows):
        colour = data.line_styles[row.arm].colour
        if row.low < low or row.high > high:
            _beyond(axes, row, place, (low, high), places)
        _row(axes, row, place, colour)
    axes.set_xlim(low, high)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    for place, row in enumerate(rows):
        beside = axes.get_yaxis_transform()
        for x, text, side in (
            (-0.01, one_line(names.of_arm(row.arm), 30), "right"),
            (1.01, row.found.verdict or "–", "left"),
        ):
            verbatim(
                axes.text(x, place, text, transform=beside, ha=side, va="center", fontsize=11, color=INK)
            )
    axes.tick_params(axis="x", labelsize=11, colors=INK)
    axes.grid(axis="x", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    measured = " (points)" if comparison.metric.endswith("accuracy") else unit(comparison.metric)
    baseline = named(one_line(names.of_arm(comparison.baseline), 30))
    verbatim(
        axes.set_xlabel(
            f"{metric_name(comparison.metric)}: difference to {baseline}{measured}", fontsize=12, color=INK
        )
    )
    return figure


def limits(rows: Sequence[DifferenceRow], margin: float) -> tuple[float, float]:
    """The ends of the axis: around the nearer half of the arms, all within `FARTHEST` times their reach, and the margin
    unless it is wider than that."""
    reaches = sorted(row.reach for row in rows)
    near = FARTHEST * max(reaches[(len(reaches) - 1) // 2], 1e-12)
    shown = [row for row in rows if row.reach <= near]
    low, high = min(row.low for row in shown), max(row.high for row in shown)
    if margin <= near:
        low, high = min(low, -margin), max(high, margin)
    room = 0.05 * max(high - low, 1e-9)
    return low - room, high + room


def _row(axes: Axes, row: DifferenceRow, place: int, colour: str) -> None:
    axes.plot(row.differences, np.full(len(row.differences), place + 0.2), "o", color=SEED, markersize=3.2, alpha=0.75,
              markeredgewidth=0, zorder=3)  # fmt: skip
    if row.found.difference_ci95 is not None:
        axes.plot(row.found.difference_ci95, (place - 0.08,) * 2, color=colour, linewidth=2.4, zorder=4)
    axes.plot(row.mean, place - 0.08, "D", color=colour, markersize=6.5, markeredgecolor="white",
              zorder=5)  # fmt: skip


def _beyond(axes: Axes, row: DifferenceRow, place: int, ends: tuple[float, float], places: int) -> None:
    """A triangle at each edge that the arm goes beyond, and its mean in words where the axis does not reach that."""
    low, high = ends
    if low <= row.mean <= high:
        for edge, marker in [(low, "<")] * (row.low < low) + [(high, ">")] * (row.high > high):
            axes.plot(edge, place - 0.08, marker, color=INK, markersize=7, clip_on=False, zorder=6)
        return
    left, text = row.mean < low, number(row.mean, places, sign=True)
    axes.text(low if left else high, place, f" ◂ {text}" if left else f"{text} ▸ ", va="center",
              ha="left" if left else "right", fontsize=10.5, color=INK, zorder=6)  # fmt: skip


FIGURE = report.Figure(name="differences", section="verdicts", order=10, drawings=drawings)
