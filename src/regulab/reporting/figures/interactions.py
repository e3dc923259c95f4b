"""Interaction plots: means over the levels of one factor, a line for each level of another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawn
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from regulab.reporting.data import ReportData
from regulab.reporting.figure import Drawing, Figure
from regulab.reporting.naming import PictureNames
from regulab.reporting.palette import BASELINE, COLOURS, DASHES, MARKERS
from regulab.reporting.rendering import FAINT, INK, verbatim
from regulab.reporting.tables import decimals, metric_name, number, unit
from regulab.statistics.design import Cell, Factor
from regulab.statistics.effects import cell_means
from regulab.statistics.intervals import bounds_of, mean_interval
from regulab.wording import one_line

MOST_PAIRS = 6  # of factors that are drawn
LABEL = 22  # characters of a level in the picture
APART, WIDEST = (
    0.07,
    0.7,
)  # between the lines at one level, so that their intervals do not cover each other; all of them


@dataclass(frozen=True)
class Plot:
    """Two factors and what was measured: ``values[a, b]`` ``(n,)`` seed by seed, a of ``along``, b of ``lines``."""

    along: Factor
    lines: Factor
    values: Mapping[Cell, NDArray[np.float64]]
    more: bool  # whether there are other factors, whose levels are averaged over


def drawings(data: ReportData) -> Iterable[Drawing]:
    """A picture for every pair of factors."""
    for place, plot in enumerate(_plots(data), 1):
        title = f"{one_line(plot.along.name, LABEL)} × {one_line(plot.lines.name, LABEL)}"
        yield Drawing(
            path=f"figures/regulab-interaction-{place}",
            title=f"Interaction of {title}",
            alternative=_alternative(data, plot),
            draw=lambda plot=plot: draw(data, plot),  # type: ignore[misc]
            words=_words(data, plot) + (_not_drawn(data) if place == MOST_PAIRS else ""),
        )


def _plots(data: ReportData) -> list[Plot]:
    factorial = data.comparison.factorial
    if factorial is None or not factorial.found.seeds:
        return []
    factors, plots = factorial.found.design.factors, []
    for places in list(itertools.combinations(range(len(factors)), 2))[:MOST_PAIRS]:
        one, other = factors[places[0]], factors[places[1]]
        values = cell_means(factorial.found, places)
        if len(other.levels) > len(one.levels):  # the fewer lines
            one, other, values = other, one, {(b, a): found for (a, b), found in values.items()}
        plots.append(Plot(one, other, values, len(factors) > 2))
    return plots


def draw(data: ReportData, plot: Plot) -> Drawn:
    """Means over seeds with their t intervals; the first level of each factor is the left one, and the dark line."""
    figure = Drawn(figsize=(8, 4.3 + 0.24 * len(plot.lines.levels)), layout="constrained", facecolor="white")
    axes, names = figure.subplots(), data.picture_names
    comparison = data.comparison
    for line in range(len(plot.lines.levels)):
        _draw_line(axes, data, plot, line)
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=12, colors=INK)
    measured = unit(comparison.metric).strip()
    label = f"{metric_name(comparison.metric)}{f' ({measured})' if measured else ''}"
    axes.set_ylabel(label, color=INK, fontsize=13)
    levels = [_label(names, level) for level in plot.along.levels]
    axes.set_xticks(range(len(levels)), [""] * len(levels))
    for tick, level in zip(axes.get_xticklabels(), levels, strict=True):
        tick.set_text(level)
    axes.set_xticks(range(len(levels)), levels)
    crowded = sum(map(len, levels)) > 56
    for tick in axes.get_xticklabels():
        verbatim(tick)
        if crowded:
            tick.set_rotation(30)
            tick.set_horizontalalignment("right")
    axes.set_xlim(-0.35, len(levels) - 0.65)
    verbatim(axes.set_xlabel(_label(names, plot.along.name), color=INK, fontsize=13))
    _legend(figure, names, plot)
    return figure


def _draw_line(axes: Axes, data: ReportData, plot: Plot, line: int) -> None:
    bounds = bounds_of(data.comparison.metric)
    apart = min(
        APART, WIDEST / len(plot.lines.levels)
    )  # each level's stay nearer to it than to the next one's
    places = np.arange(len(plot.along.levels)) + apart * (line - (len(plot.lines.levels) - 1) / 2)
    found = [plot.values[level, line] for level in range(len(places))]
    means = np.array([values.mean() for values in found])
    style = _style(line)
    axes.plot(places, means, linewidth=2.2, markersize=7, zorder=3, **style)
    if data.comparison.rule == "sequential":  # intervals do not hold under looks
        return
    for place, mean, values in zip(places, means, found, strict=True):
        interval = mean_interval(values, bounds=bounds)
        if interval is not None:
            ends = [[mean - interval[0]], [interval[1] - mean]]
            axes.errorbar(place, mean, ends, color=style["color"], elinewidth=1.5, capsize=4, zorder=2)


def _style(line: int) -> dict[str, Any]:
    """Lines differ in colour, dashes and marker, so that no reader depends on colour."""
    if line == 0:
        return {"color": BASELINE, "linestyle": "-", "marker": "o"}
    markers, again = MARKERS[2:], (line - 1) // len(COLOURS)  # colours that come again have other markers
    return {
        "color": COLOURS[(line - 1) % len(COLOURS)],
        "linestyle": (0, DASHES[(line - 1) % len(DASHES)]),
        "marker": markers[(line - 1 + again) % len(markers)],
    }


def _legend(figure: Drawn, names: PictureNames, plot: Plot) -> None:
    labels = [_label(names, level) for level in plot.lines.levels]
    handles = [Line2D([], [], linewidth=2.2, markersize=7, **_style(line)) for line in range(len(labels))]
    columns = 2 if max(map(len, labels)) <= 16 else 1
    legend = figure.legend(
        handles, ["level"] * len(handles), loc="outside lower center", ncols=columns, frameon=False,
        fontsize=12, handlelength=3.4, title=_label(names, plot.lines.name), title_fontsize=12,
    )  # fmt: skip
    verbatim(legend.get_title())
    for entry, label in zip(legend.get_texts(), labels, strict=True):
        entry.set_text(label)  # set afterwards: a label that begins with _ would be left out
        verbatim(entry)


def _label(names: PictureNames, text: str) -> str:
    return one_line(names.text(text), LABEL)


def _words(data: ReportData, plot: Plot) -> str:
    factorial = data.comparison.factorial
    assert factorial is not None, "there is a plot to say something of"
    complete, begun = len(factorial.found.seeds), len(data.records.seeds)
    averaged = f" ({complete} of {begun}: those with a value in every arm)" if complete < begun else ""
    averaged += " and over all levels of the other factors" if plot.more else ""
    if data.comparison.rule == "sequential":
        return f"Means over seeds{averaged}. Parallel lines: the two add up."
    return (
        f"Means over seeds{averaged}, with 95 % t intervals. Parallel lines: the two add up. These intervals hold each "
        "mean by itself; what seeds share cancels in the table's, which are paired and decide."
    )


def _not_drawn(data: ReportData) -> str:
    factorial = data.comparison.factorial
    assert factorial is not None, "some pairs are drawn"
    pairs = math.comb(len(factorial.found.design.factors), 2)
    return (
        f" Of {pairs} pairs of factors {MOST_PAIRS} are drawn; the table has all."
        if pairs > MOST_PAIRS
        else ""
    )


def _alternative(data: ReportData, plot: Plot) -> str:
    """The means in words."""
    places, measured = decimals(data.comparison), unit(data.comparison.metric)
    lines = []
    for line, name in enumerate(plot.lines.levels):
        means = [
            f"{number(float(plot.values[level, line].mean()), places)}{measured} at {one_line(along, LABEL)}"
            for level, along in enumerate(plot.along.levels)
        ]
        lines.append(f"{one_line(name, LABEL)}: {', '.join(means)}")
    return f"Mean {metric_name(data.comparison.metric)}. {'; '.join(lines)}."


FIGURE = Figure(name="interactions", section="factors", order=30, drawings=drawings)
