"""The picture of a path: six measures against strength, with bands over seeds and the chosen strengths marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from regulab.config.paths import shown_name
from regulab.records import StudyRecords
from regulab.reporting.palette import BASELINE, COLOURS
from regulab.reporting.rendering import FAINT, INK, verbatim
from regulab.reporting.series import INTERVAL_FROM
from regulab.statistics.path_results import OverSeeds, PathPoint, PathResults
from regulab.wording import one_line

BLUE, ORANGE, GREEN = COLOURS[:3]
Line = Literal["solid"] | tuple[float, tuple[float, ...]]  # matplotlib's style of a line
CHOSEN: dict[str, tuple[str, Line]] = {
    "best": (GREEN, "solid"),
    "one_standard_error": (COLOURS[3], (0, (4, 2))),
}
STYLES: tuple[tuple[str, Line], ...] = ((BLUE, "solid"), (ORANGE, (0, (5, 2))))
BASE_LINES: tuple[Line, ...] = ((0, (1.5, 1.5)), (0, (5, 2, 1, 2)))


@dataclass(frozen=True)
class Panel:
    """A measure on its axes, and beside it perhaps a second; ``log`` where it may span powers of ten."""

    title: str
    measures: tuple[tuple[str, str], ...]  # measure, what its line is called
    scale: float = 1.0
    log: bool = False


def panels(results: PathResults) -> list[Panel]:
    test = "validation = test" if results.protocol == "course" else "validation"
    return [
        Panel("accuracy in %", (("val_accuracy", test), ("test_accuracy", "test"))),
        Panel("loss in nats", (("val_loss", test), ("test_loss", "test")), log=True),
        Panel("gap: train − validation accuracy, in points", (("gap", ""),)),
        Panel("weights that are exactly zero, in %", (("zero_fraction", ""),), scale=100),
        Panel("‖w‖₂ of the penalized weights", (("weight_norm_l2", ""),)),
    ]


def draw(records: StudyRecords, results: PathResults) -> Figure:
    figure = Figure(figsize=(10, 10.6), layout="constrained", facecolor="white")
    axes = list(figure.subplots(3, 2).flat)
    for place, panel in zip(axes, panels(results), strict=False):
        _decorate(place, results, panel.title)
        _panel(place, results, panel)
    _decorate(axes[-1], results, f"{results.metric.replace('_', ' ')}: difference to the baseline")
    _differences(axes[-1], results)
    for place in axes:
        _mark(place, results)
    for place in axes[-2:]:
        place.set_xlabel(f"{results.path.technique}: {results.path.parameter}", fontsize=12, color=INK)
    dataset = one_line(shown_name(records.study["data"]["name"]), 50)
    verbatim(
        figure.suptitle(
            f"{results.path.technique} on {dataset}, strength by strength", fontsize=15, color=INK
        )
    )
    _legend(figure, results)
    return figure


def _decorate(axes: Axes, results: PathResults, title: str) -> None:
    axes.set_title(title, fontsize=11.5, color=INK, loc="left")
    axes.grid(color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=10.5, colors=INK, which="both")
    strengths = [at for at, _ in _placed(results)]
    positive = [value for value in strengths if value > 0]
    if results.path.spread == "log" and positive:
        if min(strengths) > 0:
            axes.set_xscale("log")
        else:
            axes.set_xscale("symlog", linthresh=min(positive))
    elif results.path.spread == "complement":
        axes.set_xscale("function", functions=(_from_complement, _to_complement))
        axes.set_xticks(strengths[:: max(1, len(strengths) // 5)])


def _from_complement(x: object) -> object:
    return -np.log10(np.maximum(1 - np.asarray(x, dtype=np.float64), 1e-12))


def _to_complement(y: object) -> object:
    return 1 - 10 ** -np.asarray(y, dtype=np.float64)


def _panel(axes: Axes, results: PathResults, panel: Panel) -> None:
    shown: list[float] = []
    for number, (measure, name) in enumerate(panel.measures):
        colour, line = STYLES[number]
        known = [(at, one.measures[measure]) for at, one in _placed(results) if measure in one.measures]
        _line(axes, known, colour, line, name, panel.scale)
        shown += [panel.scale * one.mean for _, one in known]
        base = results.baseline.measures.get(measure)
        if base is not None:
            axes.axhline(
                panel.scale * base.mean, color=BASELINE, linestyle=BASE_LINES[number], linewidth=1.3, zorder=2
            )
            shown.append(panel.scale * base.mean)
    if not any(measure in one.measures for _, one in _placed(results) for measure, _ in panel.measures):
        _span(axes, results)
    if panel.log and shown and min(shown) > 0 and max(shown) > 20 * min(shown):
        axes.set_yscale("log")
    elif panel.measures[0][0] in ("val_accuracy", "gap"):
        _zoom(axes, shown)
    elif panel.measures[0][0] == "zero_fraction" and shown and max(shown) == 0:
        axes.set_ylim(-0.05, 1)  # a share is never negative, which the usual range about 0 would suggest
    if len(panel.measures) > 1:
        axes.legend(fontsize=10, frameon=False, loc="best")


def _placed(results: PathResults) -> list[tuple[float, PathPoint]]:
    """The strengths, each with where it stands."""
    return [(one.strength, one) for one in results.points if one.strength is not None]


def _line(
    axes: Axes,
    known: Sequence[tuple[float, OverSeeds]],
    colour: str,
    line: Line,
    name: str,
    scale: float,
) -> None:
    x = [at for at, _ in known]
    axes.plot(x, [scale * one.mean for _, one in known], color=colour, linestyle=line, marker="o", markersize=4.5,
              linewidth=1.8, label=name, zorder=4)  # fmt: skip
    edges = [_edges(one) for _, one in known]
    if all(edge is not None for edge in edges) and edges:
        low, high = zip(*[edge for edge in edges if edge is not None], strict=True)
        axes.fill_between(x, [scale * v for v in low], [scale * v for v in high], color=colour, alpha=0.15,
                          linewidth=0, zorder=2)  # fmt: skip


def _edges(one: OverSeeds) -> tuple[float, float] | None:
    """The t interval of five seeds or more, else the extreme seeds: fewer say little of the spread."""
    if len(one.values) >= INTERVAL_FROM:
        return one.ci95
    return (min(one.values), max(one.values)) if len(one.values) > 1 else None


def _zoom(axes: Axes, shown: Sequence[float]) -> None:
    """Around the better half: a strength that ruins training must not press all others into one line."""
    if len(shown) < 4:
        return
    values = sorted(shown)
    middle = values[len(values) // 2]
    spread = max(abs(value - middle) for value in values[len(values) // 4 : -(len(values) // 4) or None])
    reach = max(6 * spread, 0.2)
    low, high = axes.get_ylim()
    if middle - low > 2 * reach:
        low = middle - reach
    if high - middle > 2 * reach:
        high = middle + reach
    axes.set_ylim(low, high)


def _span(axes: Axes, results: PathResults) -> None:
    """The strengths as limits of a panel without a point, whose own would be one place on a logarithmic axis."""
    strengths = [at for at, _ in _placed(results)]
    axes.set_xlim(min(strengths), max(strengths))


def _differences(axes: Axes, results: PathResults) -> None:
    """Every seed a dot, the mean with its t interval."""
    axes.axhline(0, color=BASELINE, linestyle=BASE_LINES[0], linewidth=1.3, zorder=2)
    known = [(at, one.difference) for at, one in _placed(results) if one.difference is not None]
    for strength, difference in known:
        axes.plot([strength] * len(difference.values), difference.values, ".", color=BLUE, alpha=0.35,
                  markersize=5, zorder=3)  # fmt: skip
        if difference.ci95 is not None:
            axes.plot([strength] * 2, difference.ci95, color=BLUE, linewidth=1.6, zorder=4)
        axes.plot([strength], [difference.mean], "o", color=BLUE, markersize=5.5, zorder=5)
    _zoom(axes, [one.mean for _, one in known])
    if not known:
        _span(axes, results)


def _mark(axes: Axes, results: PathResults) -> None:
    for choice in reversed(results.choices):
        colour, line = CHOSEN[choice.rule]
        axes.axvline(choice.strength, color=colour, linestyle=line, linewidth=1.8, alpha=0.8, zorder=1)
    for at, one in _placed(results):
        if one.diverged:
            axes.plot(at, 0.03, "X", color=INK, markersize=7, transform=axes.get_xaxis_transform())


def _legend(figure: Figure, results: PathResults) -> None:
    handles, labels = [], []
    names = {
        "best": "chosen: best on validation",
        "one_standard_error": "strongest within one standard error",
    }
    for choice in results.choices:
        colour, line = CHOSEN[choice.rule]
        handles.append(Line2D([], [], color=colour, linestyle=line, linewidth=1.8))
        labels.append(f"{names[choice.rule]}: {choice.strength:g}")
    handles.append(Line2D([], [], color=BASELINE, linestyle=BASE_LINES[0], linewidth=1.3))
    labels.append("the baseline (test: dash-dotted)")
    if any(one.diverged for one in results.points):
        handles.append(Line2D([], [], color=INK, marker="X", linestyle="none"))
        labels.append("a run diverged")
    seeds = len(results.seeds)
    band = "95 % t interval of the mean" if seeds >= INTERVAL_FROM else "lowest to highest seed"
    title = f"line: mean over {seeds} seeds; band: {band}" if seeds > 1 else "one seed"
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=10.5,
                  title=title, title_fontsize=10.5)  # fmt: skip


def is_drawable(results: PathResults) -> bool:
    """Whether any strength has numbers."""
    return any(math.isfinite(m.mean) for one in results.points for m in one.measures.values())
