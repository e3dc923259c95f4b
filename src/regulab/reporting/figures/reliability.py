"""Reliability diagrams: of the images that an arm is so sure of, how many are right; a panel for each arm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from regulab.reporting import figure as report
from regulab.reporting.calibration import ENOUGH, Reliability, edges, reliability
from regulab.reporting.data import ReportData
from regulab.reporting.palette import LineStyle
from regulab.reporting.rendering import FAINT, INK, verbatim
from regulab.reporting.tables import number
from regulab.wording import one_line, quoted

COLUMNS, TALLEST = 4, 3.6  # panels in a row; inches
MOST_DRAWN = 12  # arms; a panel takes 28 kB as lines, and the page holds them all
COUNT = "#8c959f"
NAME = 22  # characters of an arm's name above its panel


def drawings(data: ReportData) -> Iterable[report.Drawing]:
    shown = list(reliability(data.records).values())
    if shown:
        yield report.Drawing(
            path="figures/regulab-reliability",
            title="Reliability",
            words=(
                "The test images of all runs in 15 bins of confidence: on the dashed line an arm is right as often as "
                "it is sure, under it it is too sure. Bands are 95 % t intervals over runs, from three runs on; rings "
                f"are bins with fewer than {ENOUGH} images a run, mostly chance. Below, how many images a run has in "
                "each bin."
            ),
            alternative=alternative(shown),
            draw=lambda: draw(data, shown),
            kinds=("png", "svg") if len(shown) <= MOST_DRAWN else ("png",),
        )


def alternative(shown: Sequence[Reliability]) -> str:
    said = [f"{quoted(one.arm)} {number(one.ece, 4)}" for one in shown]
    return f"Accuracy against confidence, by arm; expected calibration error {'; '.join(said)}."


def draw(data: ReportData, shown: Sequence[Reliability]) -> Figure:
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    width = 10 if columns > 2 else 8
    height = min(1.15 * width / columns, TALLEST) + 0.9
    figure = Figure(figsize=(width, 0.5 + rows * height), layout="constrained", facecolor="white")
    ratios = [3.0, 1.0] * rows
    panels = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=ratios)
    most = max(float(one.images.max()) for one in shown)
    for place in range(rows * columns):
        row, column = divmod(place, columns)
        above, below = panels[2 * row, column], panels[2 * row + 1, column]
        if place >= len(shown):
            above.set_axis_off()
            below.set_axis_off()
            continue
        one = shown[place]
        _curve(above, one, data.line_styles[one.arm])
        _counts(below, one, most)
        name = one_line(data.picture_names.of_arm(one.arm), NAME)
        verbatim(above.set_title(f"{name}\nECE {number(one.ece, 4)}", fontsize=11, color=INK))
        if column == 0:
            above.set_ylabel("accuracy (%)", fontsize=11, color=INK)
            below.set_ylabel("images", fontsize=11, color=INK)
        else:
            above.tick_params(labelleft=False)
            below.tick_params(labelleft=False)
        if place + columns >= len(shown):
            below.set_xlabel("confidence (%)", fontsize=11, color=INK)
    return figure


def _curve(axes: Axes, one: Reliability, style: LineStyle) -> None:
    _decorate(axes)
    axes.plot([0, 100], [0, 100], color=INK, linewidth=0.9, linestyle=(0, (3, 3)), zorder=1)
    shown = one.sure & np.isfinite(one.low)
    if shown.any():  # a band of nothing but NaN has no extent, and no layout can be found around it
        low, high = np.where(shown, one.low, np.nan), np.where(shown, one.high, np.nan)
        axes.fill_between(one.confidence, low, high, color=style.colour, alpha=0.18, linewidth=0, zorder=2)
        # A band has no width where its neighbours have none: lines show a bin that stands alone.
        axes.vlines(one.confidence, low, high, color=style.colour, linewidth=1.1, alpha=0.6, zorder=2)
    axes.plot(
        one.confidence[one.sure],
        one.accuracy[one.sure],
        color=style.colour,
        linestyle=(0, style.dashes) if style.dashes else "-",
        linewidth=style.width,
        zorder=3,
    )
    marks: dict[str, Any] = {"linestyle": "none", "markersize": 4.5, "color": style.colour, "clip_on": False}
    rings: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 1, "alpha": 0.6}
    for chosen, look in ((one.sure, {}), (~one.sure, rings)):
        if chosen.any():  # marks that are not clipped, of no points, would be laid out at the figure's corner
            axes.plot(one.confidence[chosen], one.accuracy[chosen], marker="o", zorder=4, **marks, **look)
    axes.set_ylim(0, 100)
    axes.tick_params(labelbottom=False)


def _counts(axes: Axes, one: Reliability, most: float) -> None:
    _decorate(axes)
    low = edges()
    axes.bar(
        low[one.place],
        one.images,
        width=float(low[1]),
        align="edge",
        color=COUNT,
        edgecolor="white",
        linewidth=0.6,
    )
    axes.set_yscale("log")
    axes.set_ylim(0.5, 2 * max(most, 10.0))
    axes.yaxis.set_major_locator(LogLocator(numticks=4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else ""))
    axes.minorticks_off()


def _decorate(axes: Axes) -> None:
    axes.set_xlim(0, 100)
    axes.set_xticks([0, 50, 100])
    axes.grid(color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=10, colors=INK, which="both")


FIGURE = report.Figure(name="reliability", section="calibration", order=10, drawings=drawings)
