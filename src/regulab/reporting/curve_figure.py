"""The figure of a measure over the epochs: one curve per arm, with a band over its seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from regulab.config.paths import shown_name
from regulab.reporting import figure as report
from regulab.reporting.curves import Curve, alternative, axis_lines, band_words, counted, milestones
from regulab.reporting.data import ReportData
from regulab.reporting.interactive import specification
from regulab.reporting.naming import PictureNames
from regulab.reporting.palette import LineStyle
from regulab.reporting.rendering import FAINT, INK, verbatim
from regulab.reporting.series import Band, Series, Values, band_kind
from regulab.wording import one_line

BESIDE = 48  # characters up to which two legend entries fit side by side


def curve_figure(curve: Curve, order: int) -> report.Figure:
    """The figure of a measure, under the section of curves: ``figures/val_loss.png``, for example, and its chart."""

    def drawings(data: ReportData) -> Iterable[report.Drawing]:
        epochs, lines = milestones(data, curve)
        yield report.Drawing(
            path=f"figures/{curve.measure}",
            title=curve.title,
            alternative=alternative(data, curve),
            draw=lambda: draw(data, curve),
            chart=report.Chart(
                name=curve.measure, specification=specification(data, curve), epochs=epochs, lines=lines
            ),
        )

    return report.Figure(name=curve.measure, section="curves", order=order, drawings=drawings, placed=True)


def draw(data: ReportData, curve: Curve) -> Figure:
    """The figure of one measure: all epochs on the left, the last third on the right.

    On the left the loss has a logarithmic axis. Up to an arm's first ended run its line is the mean over
    all its seeds, after that, thinner, over the runs still going; marks show where runs stopped early or
    diverged.
    """
    shown, names = data.series[curve.measure], data.picture_names
    band = band_kind(shown)
    labels = [counted(names.of_legend(one.arm), one) for one in shown]
    columns = 2 if len(labels) > 1 and max(map(len, labels), default=0) <= BESIDE else 1
    rows = -(-(len(labels) + len(_marks(shown))) // columns)
    figure = Figure(figsize=(10, 4.6 + 0.26 * rows), layout="constrained", facecolor="white")
    whole, late = figure.subplots(1, 2)
    epochs = max((one.values.shape[1] for one in shown), default=0)
    first = -(-2 * epochs // 3)
    for axes in (whole, late):
        _decorate(axes, curve, shown)
        for order, one in enumerate(shown):
            if one.runs:
                _plot(axes, one, data.line_styles[one.arm], band, order)
    whole.set_ylabel("\n".join(axis_lines(data, curve)), color=INK, fontsize=12)
    whole.set_title("all epochs", fontsize=12, color=INK)
    if epochs:
        late.set_title(f"epochs {first} to {epochs}", fontsize=12, color=INK)
        _zoom(late, shown, first, epochs, curve, names)
    dataset = one_line(names.text(shown_name(data.records.study["data"]["name"])), 50)
    verbatim(figure.suptitle(f"{curve.title} on {dataset}", fontsize=15, color=INK))
    _legend(figure, shown, labels, data.line_styles, band, columns)
    return figure


def _decorate(axes: Axes, curve: Curve, shown: Sequence[Series]) -> None:
    axes.grid(color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=11, colors=INK, which="both")
    axes.set_xlabel("epoch", fontsize=12, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if curve.loss and any(np.nanmax(one.values, initial=0) > 0 for one in shown):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(_plain_number))
        axes.yaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
        axes.yaxis.set_minor_formatter(FuncFormatter(_plain_number))


def _plain_number(value: float, _: object) -> str:
    return f"{value:g}"


def _style(line_style: LineStyle, epochs: int) -> dict[str, Any]:
    return {
        "color": line_style.colour,
        "linestyle": (0, line_style.dashes) if line_style.dashes else "-",
        "marker": line_style.marker or None,
        "markevery": max(1, epochs // 8),
        "markersize": 5,
    }


def _plot(axes: Axes, one: Series, line_style: LineStyle, band: Band, order: int) -> None:
    """Arms lie over each other in the study's order; dashes let an equal curve below shine through."""
    epochs, level = np.arange(1, len(one.mean) + 1), 3 + order / 100
    style = _style(line_style, len(epochs)) | ({"marker": "o"} if len(epochs) == 1 else {})
    if band in ("interval", "range") and one.runs > 1:
        low, high = one.edges(band)
        inside = epochs[: one.common]
        axes.fill_between(inside, low, high, color=line_style.colour, alpha=0.1, linewidth=0, zorder=2)
        for edge in (low, high):
            axes.plot(inside, edge, color=line_style.colour, alpha=0.45, linewidth=0.7, zorder=2)
    axes.plot(epochs[: one.common], one.mean[: one.common], linewidth=line_style.width, zorder=level, **style)
    rest = slice(one.common - 1, None)
    axes.plot(
        epochs[rest], one.mean[rest], linewidth=line_style.width / 2, zorder=level, **style | {"marker": None}
    )
    for end in one.ends:
        mark = "X" if end.diverged else "o"
        axes.plot(
            end.epoch,
            end.value,
            mark,
            color=line_style.colour,
            markersize=8,
            markeredgecolor="white",
            zorder=4,
        )


def _zoom(
    axes: Axes, shown: Sequence[Series], first: int, last: int, curve: Curve, names: PictureNames
) -> None:
    """Fits the axes to the late epochs of the arms that lie close together, and names those outside."""
    higher = not curve.loss
    late = {one.arm: one.mean[first - 1 : last] for one in shown if one.runs}
    late = {arm: mean[np.isfinite(mean)] for arm, mean in late.items() if np.isfinite(mean).any()}
    low, high = limits(list(late.values()), higher_is_better=higher)
    axes.set_yscale("linear")
    axes.set_xlim(first - 0.3, last + 0.3)
    axes.set_ylim((low, min(high, 100.0)) if higher else (max(low, 0.0), high))
    outside = [arm for arm, mean in late.items() if mean.max() < low or mean.min() > high]
    if outside:
        where, y, side = ("below", 0.02, "bottom") if higher else ("above", 0.98, "top")
        text = f"{where}: {one_line(', '.join(f'“{names.of_arm(arm)}”' for arm in outside), 46)}"
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2}
        verbatim(
            axes.text(0.98, y, text, va=side, ha="right", transform=axes.transAxes, fontsize=10.5, color=INK,
                      bbox=box, zorder=6)
        )  # fmt: skip


def limits(curves: Sequence[Values], *, higher_is_better: bool) -> tuple[float, float]:
    """Lower and upper limit around the better half of the curves and those within twice their range of it.

    Without this, one arm with far too strong a penalty would press all the others into one line. The
    least range, for curves that agree, is a thousandth of their height.
    """
    if not curves:
        return 0.0, 1.0
    ranked = sorted(curves, key=lambda curve: float(np.median(curve)), reverse=higher_is_better)
    half = np.concatenate(ranked[: len(ranked) // 2 + 1])
    least = 1e-3 * max(float(np.abs(half).max()), 1e-9)
    reach = 2 * max(float(np.ptp(half)), least)
    near = [curve for curve in ranked if abs(float(np.median(curve) - np.median(half))) <= reach]
    kept = np.clip(np.concatenate([half, *near]), half.min() - reach, half.max() + reach)
    room = 0.3 * max(float(np.ptp(kept)), least)
    return float(kept.min()) - room, float(kept.max()) + room


def _marks(shown: Sequence[Series]) -> list[tuple[str, str]]:
    ends = {end.diverged for one in shown for end in one.ends}
    meanings = ((False, "o", "a run stopped early"), (True, "X", "a run diverged"))
    return [(mark, text) for diverged, mark, text in meanings if diverged in ends]


def _legend(
    figure: Figure,
    shown: Sequence[Series],
    labels: list[str],
    appearance: Mapping[str, LineStyle],
    band: Band,
    columns: int,
) -> None:
    handles = [
        Line2D([], [], linewidth=appearance[one.arm].width, **_style(appearance[one.arm], 1)) for one in shown
    ]
    for mark, text in _marks(shown):
        handles.append(Line2D([], [], linestyle="none", marker=mark, color=INK, markersize=8))
        labels = [*labels, text]
    legend = figure.legend(
        handles, ["arm"] * len(handles), loc="outside lower center", ncols=columns, frameon=False,
        fontsize=11, handlelength=3.4, title=band_words(shown, band), title_fontsize=10.5,
    )  # fmt: skip
    for entry, label in zip(legend.get_texts(), labels, strict=True):
        entry.set_text(label)  # set afterwards: a label that begins with _ would be left out
        verbatim(entry)
