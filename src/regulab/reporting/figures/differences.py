"""The paired differences of every arm to the baseline: each seed's, their mean and interval, and the margin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from regulab.reporting import figure as report
from regulab.reporting.data import ReportData
from regulab.reporting.rendering import FAINT, INK, verbatim
from regulab.reporting.tables import decimals, number
from regulab.statistics import ArmComparison
from regulab.statistics.number_words import metric_name, unit_of_difference
from regulab.statistics.verdicts import direction
from regulab.wording import listed, named, one_line, quoted

WIDTH, ROW = 7.6, 0.66  # inches; on a telephone the picture is half as wide, and is still to be read
MARGIN_BAND = "#dde5ee"
SEED, WORST = "#57606a", "#a63a00"
RANKED = 8  # arms, of which more stand in the order of their differences instead of that of the study
FARTHEST = 4  # spans of the nearer half of the arms, beyond which an arm is named at the edge
BESIDE = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # of what stands upon an arm's line
LEAST_PAIRS = 2
DOTS, STACK = (
    0.18,
    0.24,
)  # rows below an arm's own line: where its dots begin, and the room for those that coincide
DOT = 0.008  # of the axis: the width of a dot


@dataclass(frozen=True)
class DifferenceRow:
    """An arm with pairs: what the axis has to reach for it, ``low`` to ``high``, 0 included."""

    arm: str
    found: ArmComparison
    differences: tuple[float, ...]
    mean: float
    low: float
    high: float
    worst: int | None  # the seed with the least favourable difference; None where no direction is better

    @property
    def worst_difference(self) -> float | None:
        assert self.found.differences is not None, "a row has them"
        return None if self.worst is None else self.found.differences[self.worst]

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
    band = "; the shaded band is the margin" if data.comparison.margin is not None else ""
    said = [f"Dots are seeds, diamonds their means{lines}{band}."]
    if any(row.worst is not None for row in rows):
        said.append("The ring marks each arm's worst seed.")
    if len(rows) > RANKED:
        said.append("The arms stand in the order of their differences.")
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
    """The arms with at least two pairs, in the order of the study, or where they are many the best first."""
    rows, better = [], direction(data.comparison.metric)
    for arm, found in data.comparison.arms.items():
        if arm != data.baseline and found.pairs >= LEAST_PAIRS and found.differences:
            by_seed = found.differences
            each = tuple(by_seed.values())
            seen = [0.0, *each, *(found.difference_ci95 or ())]
            worst = min(by_seed, key=lambda seed: better * by_seed[seed]) if better else None
            rows.append(
                DifferenceRow(arm, found, each, float(found.difference or 0.0), min(seen), max(seen), worst)
            )
    return sorted(rows, key=lambda row: -(better or 1) * row.mean) if len(rows) > RANKED else rows


def alternative(data: ReportData, rows: Sequence[DifferenceRow]) -> str:
    places = decimals(data.comparison)
    said = [f"{quoted(row.arm)} {number(row.mean, places, sign=True)}" for row in rows]
    return (
        f"Differences of {metric_name(data.comparison.metric)} to {named(data.baseline)}, means over seeds: "
        + ("; ".join(said) + ".")
    )


def draw(data: ReportData, rows: Sequence[DifferenceRow]) -> Figure:
    """Two lines for each arm: name, verdict and worst seed; below them its numbers. One that lies far out is named at
    the edge, so that the others can be told apart."""
    comparison = data.comparison
    figure = Figure(figsize=(WIDTH, 1.35 + ROW * len(rows)), layout="constrained", facecolor="white")
    axes = figure.subplots()
    low, high = ends = limits(rows, comparison.margin or 0.0)
    digits = decimals(comparison)
    if comparison.margin is not None:
        axes.axvspan(-comparison.margin, comparison.margin, color=MARGIN_BAND, zorder=0)
    axes.axvline(0, color=INK, linewidth=1, zorder=1)
    for place, row in enumerate(rows):
        if place:
            axes.axhline(place - 0.53, color=FAINT, linewidth=0.8, zorder=1)
        if row.low < low or row.high > high:
            _beyond(axes, row, place, ends, digits)
        _row(axes, row, place, high - low, data.line_styles[row.arm].colour)
        _named(axes, data, row, place)
    axes.set_xlim(low, high)
    axes.set_ylim(len(rows) - 0.4, -0.75)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="x", labelsize=13, colors=INK)
    axes.grid(axis="x", color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    _sides(axes, comparison.metric)
    baseline = named(one_line(data.picture_names.of_arm(comparison.baseline), 30))
    measured = unit_of_difference(comparison.metric).strip()
    label = (
        f"{metric_name(comparison.metric)}: difference to {baseline}{f' ({measured})' if measured else ''}"
    )
    verbatim(axes.set_xlabel(label, fontsize=13.5, color=INK))
    return figure


def _named(axes: Axes, data: ReportData, row: DifferenceRow, place: int) -> None:
    """Above the row's numbers its name, and at the right its verdict and its worst seed."""
    digits = decimals(data.comparison)
    shown = number(row.worst_difference, digits, sign=True)
    worst = "" if row.worst is None else f" · worst: seed {row.worst}, {shown}"
    said = f"{row.found.verdict or '–'}{worst}"
    for x, text, side in ((0, one_line(data.picture_names.of_arm(row.arm), 32), "left"), (1, said, "right")):
        beside = axes.get_yaxis_transform()
        verbatim(
            axes.text(x, place - 0.36, text, transform=beside, ha=side, va="center", fontsize=13.5, color=INK)
        )


def _sides(axes: Axes, metric: str) -> None:
    """Which side is the better one, where one is."""
    better = direction(metric)
    for x, side, points in ((0, "left", "◂ "), (1, "right", " ▸")):
        word = "better" if (x == 1) == (better > 0) else "worse"
        if better:
            text = points + word if x == 0 else word + points
            axes.text(x, 1, text, transform=axes.transAxes, ha=side, va="bottom", fontsize=13, color=SEED)


def limits(rows: Sequence[DifferenceRow], margin: float) -> tuple[float, float]:
    """The ends of the axis: around the nearer half of the arms, all within `FARTHEST` times their reach, and the margin
    unless it is wider than that."""
    reaches = sorted(row.reach for row in rows)
    # Where half of the arms do not differ at all, the margin says what is near.
    near = FARTHEST * (reaches[(len(reaches) - 1) // 2] or margin or reaches[-1] or 1.0)
    shown = [row for row in rows if row.reach <= near]
    low, high = min(row.low for row in shown), max(row.high for row in shown)
    if margin <= near:
        low, high = min(low, -margin), max(high, margin)
    room = 0.05 * max(high - low, 1e-9)
    return low - room, high + room


def _row(axes: Axes, row: DifferenceRow, place: int, width: float, colour: str) -> None:
    heights = place + DOTS + stacked(row.differences, width)
    axes.plot(
        row.differences, heights, "o", color=SEED, markersize=4, alpha=0.75, markeredgewidth=0, zorder=3
    )
    if row.worst_difference is not None:
        height = heights[row.differences.index(row.worst_difference)]
        axes.plot(row.worst_difference, height, "o", markersize=9, markerfacecolor="none",
                  markeredgecolor=WORST, markeredgewidth=1.6, zorder=4)  # fmt: skip
    if row.found.difference_ci95 is not None:
        axes.plot(row.found.difference_ci95, (place - 0.04,) * 2, color=colour, linewidth=2.6, zorder=4)
    axes.plot(row.mean, place - 0.04, "D", color=colour, markersize=7, markeredgecolor="white",
              zorder=5)  # fmt: skip


def stacked(values: Sequence[float], width: float) -> NDArray[np.float64]:
    """How far below the first each of the dots stands that would cover each other, ``(n,)`` in rows: accuracies come in
    whole images, so seeds often agree. ``width`` is that of the axis."""
    columns = np.round(np.array(values) / (DOT * width)).astype(int)
    order = np.array([np.count_nonzero(columns[:n] == column) for n, column in enumerate(columns)])
    return order * min(STACK / 3, STACK / max(1, int(order.max(initial=0))))


def _beyond(axes: Axes, row: DifferenceRow, place: int, ends: tuple[float, float], places: int) -> None:
    """A triangle at each edge that the arm goes beyond, and its mean in words where the axis does not reach that."""
    low, high = ends
    if low <= row.mean <= high:
        for edge, marker in [(low, "<")] * (row.low < low) + [(high, ">")] * (row.high > high):
            axes.plot(edge, place - 0.04, marker, color=INK, markersize=7, clip_on=False, zorder=6)
        return
    left, text = row.mean < low, number(row.mean, places, sign=True)
    axes.text(low if left else high, place, f" ◂ {text}" if left else f"{text} ▸ ", va="center",
              ha="left" if left else "right", fontsize=13, color=INK, zorder=6, bbox=BESIDE)  # fmt: skip


FIGURE = report.Figure(name="differences", section="answer", order=10, drawings=drawings)
