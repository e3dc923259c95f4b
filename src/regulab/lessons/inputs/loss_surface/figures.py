"""The figures of the lesson ``loss-surface``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from regulab.lessons.inputs.loss_surface.experiment import FEATURES, NAMES, Side
from regulab.lessons.inputs.loss_surface.quadratic import MOST_STEPS, TOLERANCE
from regulab.lessons.kit.lesson import LessonFigure, Measured
from regulab.reporting.palette import DASHES
from regulab.reporting.theme import Theme


def draw(measured: Measured, theme: Theme) -> list[LessonFigure]:
    sides: Sequence[Side] = measured.evidence
    v = measured.values
    return [
        LessonFigure(
            name="surfaces",
            figure=_surfaces(sides, theme),
            caption=(
                "Above, the loss over the two weights; below, the same from above, with equal scales on"
                " both axes and the same levels: the path of gradient descent at the best learning rate"
                " of each, from the square to the cross (the minimum)."
            ),
            alternative=(
                f"Loss surfaces and contours. In their own units κ is {v['own_condition']:.3g} and the"
                f" path takes {v['own_steps']:.0f} steps; normalized, κ is {v['normalized_condition']:.3g}"
                f" and the path takes {v['normalized_steps']:.0f}."
            ),
        ),
        LessonFigure(
            name="speed",
            figure=_speed(sides, theme),
            caption=(
                "Left: how far the loss is above its minimum, step by step, each at its best rate. Right:"
                " the steps that each learning rate takes; dotted verticals mark 2/λ_max, beyond which"
                " descent diverges."
            ),
            alternative=(
                "Steps to converge against the learning rate. Largest stable rate by bisection:"
                f" {v['own_rate']:.3g} in their own units, {v['normalized_rate']:.3g} normalized; 2/λ_max:"
                f" {v['own_rate_theory']:.3g} and {v['normalized_rate_theory']:.3g}."
            ),
        ),
    ]


def _surfaces(sides: Sequence[Side], theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 9), layout="constrained")
    half = 1.15 * max(float(np.abs(side.quadratic.minimum).max()) for side in sides)
    levels = np.geomspace(1e-3, 10, 13)
    filled: Any = None
    for column, side in enumerate(sides):
        first, second = (np.linspace(centre - half, centre + half, 161) for centre in side.quadratic.minimum)
        grid = np.stack(np.meshgrid(first, second), axis=-1)
        excess = side.quadratic.excess(grid)
        above: Any = figure.add_subplot(2, 2, 1 + column, projection="3d")
        above.plot_surface(
            grid[..., 0], grid[..., 1], excess, cmap=theme.sequential, norm=LogNorm(1e-3, 10),
            rcount=60, ccount=60, linewidth=0, antialiased=True,
        )  # fmt: skip
        for axis in (above.xaxis, above.yaxis, above.zaxis):
            axis.set_pane_color(theme.paper)
            axis.set_major_locator(MaxNLocator(4))
        above.set(
            xlabel="$w_1$", ylabel="$w_2$", title=f"Features {side.label}\nκ = {side.quadratic.condition:.3g}"
        )
        above.set_zlabel("$E - E^*$")
        above.view_init(elev=32, azim=-58)
        above.set_box_aspect(None, zoom=1.12)
        axes = figure.add_subplot(2, 2, 3 + column)
        axes.grid(False)
        filled = axes.contourf(
            first,
            second,
            np.maximum(excess, levels[0]),
            levels=levels,
            norm=LogNorm(1e-3, 10),
            extend="max",
            alpha=0.85,
        )
        axes.contour(first, second, excess, levels=levels, colors=theme.paper, linewidths=0.6)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        x, y = side.path.T
        axes.plot(x, y, color="white", linewidth=2.8, solid_joinstyle="round")
        axes.plot(x, y, color=theme.colours[1], linewidth=1.2, marker="o", markersize=2.5)
        axes.plot(*side.path[0], marker="s", markersize=9, color=theme.colours[1], markeredgecolor="white")
        axes.plot(*side.quadratic.minimum, marker="X", markersize=11, color="white", markeredgecolor="black")
        axes.set(
            xlabel=f"$w_1$, weight of {NAMES[FEATURES[0]]}", ylabel=f"$w_2$, weight of {NAMES[FEATURES[1]]}",
            aspect="equal", title=f"{len(side.path) - 1} steps at η = {side.quadratic.best_rate:.3g}",
        )  # fmt: skip
    bar = figure.colorbar(filled, ax=figure.axes, shrink=0.5, anchor=(0, 0.1), ticks=[1e-3, 1e-2, 0.1, 1, 10])
    bar.set_label("loss above its minimum, $E - E^*$")
    return figure


def _speed(sides: Sequence[Side], theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 4.3), layout="constrained")
    left, right = figure.subplots(1, 2)
    for side, colour, dash in zip(
        sides, (theme.colours[1], theme.colours[0]), ("-", (0, DASHES[0])), strict=True
    ):
        excess = side.quadratic.excess(side.path)
        label = f"features {side.label}"
        left.plot(np.arange(len(excess)), excess / excess[0], color=colour, linestyle=dash, label=label)
        right.plot(side.rates, side.steps, color=colour, linestyle=dash, label=label)
        limit = 2 / side.quadratic.curvatures[1]
        right.axvline(limit, color=colour, linestyle=":", linewidth=1.5)
        right.plot(
            side.stable,
            2 * MOST_STEPS,
            marker="v",
            markersize=9,
            color=colour,
        )
    left.axhline(TOLERANCE, color=theme.soft, linewidth=1)
    left.set(
        xscale="log", yscale="log", xlabel="step", ylabel="$(E - E^*)$ / its start",
        title="At the best rate of each", xlim=(1, None),
    )  # fmt: skip
    right.set(
        xscale="log", yscale="log", xlabel="learning rate η", ylabel="steps to converge", ylim=(1, 5 * MOST_STEPS),
        title="Steps for each rate; ▼ largest stable one found",
    )  # fmt: skip
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
