"""Validation accuracy and loss over the epochs: one curve per arm, with a band over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from regulab.records import StudyRecords
from regulab.reporting.figures import FAINT, INK, one_line, verbatim
from regulab.reporting.palette import Look, looks
from regulab.reporting.series import Band, Series, band_kind, series

Shown = Literal["val_accuracy", "val_loss"]

TITLES = {"val_accuracy": "Validation accuracy", "val_loss": "Validation loss"}
UNITS = {"val_accuracy": "%", "val_loss": "nats"}
AXES = {
    "val_accuracy": "validation accuracy (%)",
    "val_loss": "validation loss\n(nats, cross-entropy without penalty)",
}
BANDS = {
    "interval": "line: mean over seeds; band: 95 % t interval of that mean",
    "range": "line: mean over seeds; band: lowest to highest seed",
    "none": "line: the only seed",
}
BESIDE = 44  # characters up to which two legend entries fit side by side
Looks = dict[str, Look]


def draw(records: StudyRecords, measure: Shown) -> Figure:
    """The figure of one measure: all epochs on the left, the last third on the right.

    The loss has a logarithmic axis. Up to an arm's first ended run its line is the mean over all its seeds,
    after that, thinner, over the runs still going; marks show where runs stopped early or diverged.
    """
    shown = series(records, measure)
    appearance, band = dict(looks(records)), band_kind(shown)
    labels = [_label(records, one) for one in shown]
    columns = 2 if len(labels) > 1 and max(map(len, labels), default=0) <= BESIDE else 1
    rows = -(-len(labels) // columns)
    figure = Figure(figsize=(10, 4.6 + 0.26 * rows), layout="constrained", facecolor="white")
    whole, late = figure.subplots(1, 2)
    epochs = max((one.values.shape[1] for one in shown), default=0)
    first = epochs - epochs // 3 + 1
    for axes in (whole, late):
        _decorate(axes, measure)
        for order, one in enumerate(shown):
            if one.runs:
                _plot(axes, one, appearance[one.arm], band, order)
    course = records.study["protocol"]["kind"] == "course"
    split = "\nvalidation split = test split (protocol: course)" if course else ""
    whole.set_ylabel(AXES[measure] + split, color=INK, fontsize=12)
    whole.set_title("all epochs", fontsize=12, color=INK)
    if epochs:
        late.set_title(f"epochs {first} to {epochs}", fontsize=12, color=INK)
        _zoom(late, shown, first, epochs, measure)
    dataset = one_line(str(records.study["data"]["name"]), 50)
    verbatim(figure.suptitle(f"{TITLES[measure]} on {dataset}", fontsize=15, color=INK))
    _legend(figure, shown, labels, appearance, band, columns)
    return figure


def alternative(records: StudyRecords, measure: Shown) -> str:
    """What the figure shows, for those who cannot see it: each arm's mean at its last epoch."""
    ends = [
        f"{one.arm} ends at {one.mean[-1]:.4g} {UNITS[measure]}"
        for one in series(records, measure)
        if one.runs and np.isfinite(one.mean[-1])
    ]
    dataset = records.study["data"]["name"]
    return f"{TITLES[measure]} on {dataset} by epoch, one curve per arm; mean over seeds: {'; '.join(ends)}."


def _label(records: StudyRecords, one: Series) -> str:
    legend = one_line(records.legends.get(one.arm, one.arm), 72)
    if not one.runs:
        return f"{legend} · no finite value"
    return f"{legend} · n = {one.runs} seed{'s' if one.runs > 1 else ''}"


def _decorate(axes: Axes, measure: Shown) -> None:
    axes.grid(color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=11, colors=INK, which="both")
    axes.set_xlabel("epoch", fontsize=12, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if measure == "val_loss":
        axes.set_yscale("log")


def _style(look: Look, epochs: int) -> dict[str, Any]:
    return {
        "color": look.colour,
        "linestyle": (0, look.dashes) if look.dashes else "-",
        "marker": look.marker or None,
        "markevery": max(1, epochs // 8),
        "markersize": 5,
    }


def _plot(axes: Axes, one: Series, look: Look, band: Band, order: int) -> None:
    """Arms lie over each other in the study's order; dashes let an equal curve below shine through."""
    epochs, level = np.arange(1, len(one.mean) + 1), 3 + order / 100
    style = _style(look, len(epochs))
    if band != "none" and one.runs > 1:
        low, high = one.edges(band)
        axes.fill_between(
            epochs[: one.common], low, high, color=look.colour, alpha=0.14, linewidth=0, zorder=2
        )
    axes.plot(epochs[: one.common], one.mean[: one.common], linewidth=look.width, zorder=level, **style)
    rest = slice(one.common - 1, None)
    axes.plot(
        epochs[rest], one.mean[rest], linewidth=look.width / 2, zorder=level, **style | {"marker": None}
    )
    for end in one.ends:
        mark = "X" if end.diverged else "o"
        axes.plot(
            end.epoch, end.value, mark, color=look.colour, markersize=8, markeredgecolor="white", zorder=4
        )


def _zoom(axes: Axes, shown: Sequence[Series], first: int, last: int, measure: Shown) -> None:
    """Limits that fit the better half of the arms and whatever lies near them; names who falls outside.

    Without this, one arm with far too strong a penalty would press all the others into one line.
    """
    sign = 1 if measure == "val_accuracy" else -1
    late = {one.arm: one.mean[first - 1 : last] for one in shown if one.runs}
    if sign == -1:
        late = {arm: np.log10(np.maximum(mean, 1e-12)) for arm, mean in late.items()}
    late = {arm: mean[np.isfinite(mean)] for arm, mean in late.items() if np.isfinite(mean).any()}
    ranked = sorted(late, key=lambda arm: -sign * float(np.median(late[arm])))
    half = np.concatenate([late[arm] for arm in ranked[: len(ranked) // 2 + 1]]) if ranked else np.zeros(1)
    reach = 2 * max(float(np.ptp(half)), 0.05 if sign == 1 else 0.01)
    inside = [arm for arm in ranked if abs(float(np.median(late[arm]) - np.median(half))) <= reach]
    near = np.concatenate([half, *(late[arm] for arm in inside)])
    low, high = max(near.min(), half.min() - reach), min(near.max(), half.max() + reach)
    room = 0.12 * max(high - low, 0.02 if sign == 1 else 0.004)
    low, high = low - room, high + room
    axes.set_xlim(first - 0.3, last + 0.3)
    axes.set_ylim((low, high) if sign == 1 else (10**low, 10**high))
    outside = [one_line(arm, 24) for arm in ranked if arm not in inside]
    if outside:
        text = f"{'below' if sign == 1 else 'above'}: {one_line(', '.join(outside), 46)}"
        place: dict[str, Any] = {"y": 0.02, "va": "bottom"} if sign == 1 else {"y": 0.98, "va": "top"}
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2}
        verbatim(
            axes.text(0.98, place["y"], text, va=place["va"], ha="right", transform=axes.transAxes,
                      fontsize=10.5, color=INK, bbox=box, zorder=6)
        )  # fmt: skip


def _legend(
    figure: Figure, shown: Sequence[Series], labels: list[str], appearance: Looks, band: Band, columns: int
) -> None:
    handles = [
        Line2D([], [], linewidth=appearance[one.arm].width, **_style(appearance[one.arm], 1)) for one in shown
    ]
    ends = {end.diverged for one in shown for end in one.ends}
    marks = [("o", "a run stopped early")] * (False in ends) + [("X", "a run diverged")] * (True in ends)
    for mark, text in marks:
        handles.append(Line2D([], [], linestyle="none", marker=mark, color=INK, markersize=8))
        labels = [*labels, text]
    legend = figure.legend(
        handles, ["arm"] * len(handles), loc="outside lower center", ncols=columns, frameon=False,
        fontsize=11.5, handlelength=3.4, title=BANDS[band], title_fontsize=10.5,
    )  # fmt: skip
    for entry, label in zip(legend.get_texts(), labels, strict=True):
        verbatim(entry).set_text(label)  # set afterwards: a label that begins with _ would be left out
