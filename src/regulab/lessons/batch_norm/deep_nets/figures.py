"""The figures of the lesson ``deep-nets``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regulab.lessons.batch_norm.deep_nets.experiment import DEPTHS, EPOCHS, NORMS, RATES, TARGET, Grid
from regulab.lessons.kit.lesson import LessonFigure, Measured
from regulab.reporting.theme import Theme


def draw(measured: Measured, theme: Theme) -> list[LessonFigure]:
    grids: Mapping[str, Grid] = measured.evidence
    return [_curves(grids, theme), _maps(grids, theme)]


def _curves(grids: Mapping[str, Grid], theme: Theme) -> LessonFigure:
    figure = Figure(figsize=(10, 4.6))
    figure.set_layout_engine("constrained", w_pad=0.12)
    epochs, rates = figure.subplots(1, 2)
    looks = {"batch": (theme.colours[0], "-", "o"), "none": (theme.colours[1], "--", "s")}
    places = np.arange(len(DEPTHS))
    for side, (norm, (colour, dash, marker)) in zip((-1, 1), looks.items(), strict=True):
        grid = grids[norm]
        for seed in grid.best.T:
            epochs.plot(places + 0.06 * side, seed, marker, color=colour, alpha=0.4, markersize=5)
        epochs.plot(places, grid.best.mean(1), dash, color=colour, label=NORMS[norm])
        _rate_columns(rates, grid, 0.14 * side, colour, marker)
    epochs.axhspan(EPOCHS + 0.5, EPOCHS + 1.5, color=theme.faint, alpha=0.6, linewidth=0)
    epochs.set(title=f"Epochs to {TARGET:g} % training accuracy", ylabel="epochs", ylim=(0, EPOCHS + 1.5))
    ticks = range(0, EPOCHS + 1, 2)
    epochs.set_yticks([*ticks, EPOCHS + 1], [*map(str, ticks), f"not in {EPOCHS}"])
    rates.set(title="Learning rates: filled if usable", ylabel="learning rate", yscale="log")
    rates.set_yticks(RATES, [f"{rate:g}" for rate in RATES])
    rates.minorticks_off()
    for axes in (epochs, rates):
        axes.set_xticks(places, [str(depth) for depth in DEPTHS])
        axes.set(xlabel="depth (layers)", xlim=(-0.5, len(DEPTHS) - 0.5))
        axes.grid(axis="x", visible=False)
    handles, labels = epochs.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, handlelength=3.4)
    summary = "; ".join(
        f"depth {depth} {name}: {grids[norm].best[row].mean():.1f} epochs, largest rate"
        f" {grids[norm].largest[row]:g}"
        for row, depth in enumerate(DEPTHS)
        for norm, name in NORMS.items()
    )
    return LessonFigure(
        name="depth",
        figure=figure,
        caption=(
            "Left: epochs at each net's best rate; line: mean over seeds, dots: seeds. Right: every rate that was"
            " tried; a dot is filled if every seed reached the target, and a line joins the usable ones."
        ),
        alternative=f"Epochs to {TARGET:g} % and usable learning rates against depth. {summary}.",
    )


def _rate_columns(axes: Axes, grid: Grid, offset: float, colour: str, marker: str) -> None:
    for place, usable in enumerate(grid.usable):
        x = np.full(len(RATES), place + offset)
        y = np.array(RATES)
        axes.plot(x, y, marker, color=colour, markerfacecolor="none", markersize=8, markeredgewidth=1.2)
        axes.plot(x[usable], y[usable], marker, linestyle="-", color=colour, markersize=8, linewidth=2.5)


def _maps(grids: Mapping[str, Grid], theme: Theme) -> LessonFigure:
    figure = Figure(figsize=(10, 3.9), layout="constrained")
    places = figure.subplots(1, 2, sharey=True)
    image = None
    for axes, (norm, name) in zip(places, NORMS.items(), strict=True):
        means = grids[norm].accuracy.mean(-1)
        image = axes.imshow(means, cmap=theme.sequential, vmin=0, vmax=100, aspect="auto")
        for (row, column), value in np.ndenumerate(means):
            ink = "white" if value < 55 else "black"  # on viridis, whichever ground the page has
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=12, color=ink)
        axes.set_xticks(range(len(RATES)), [f"{rate:g}" for rate in RATES])
        axes.set_yticks(range(len(DEPTHS)), [str(depth) for depth in DEPTHS])
        axes.set(title=name, xlabel="learning rate")
        axes.grid(visible=False)
    places[0].set_ylabel("depth (layers)")
    assert image is not None
    figure.colorbar(image, ax=places, label="training accuracy (%)")
    figure.suptitle("Highest training accuracy of an epoch")
    return LessonFigure(
        name="accuracy",
        figure=figure,
        caption=(
            f"Mean over seeds of the highest training accuracy of an epoch (%); training stops at {TARGET:g} %."
        ),
        alternative="Two maps of the training accuracy over depth and learning rate; the table has their numbers.",
    )
