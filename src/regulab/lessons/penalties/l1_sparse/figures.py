"""The figures of the lesson ``l1-sparse``."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon
from matplotlib.ticker import MaxNLocator

from regulab.lessons.kit.lesson import LessonFigure, Measured
from regulab.lessons.penalties.l1_sparse.corner import Corner
from regulab.lessons.penalties.l1_sparse.experiment import LassoZeros
from regulab.lessons.penalties.linear import Array
from regulab.reporting.palette import DASHES
from regulab.reporting.theme import Theme


def draw(measured: Measured, theme: Theme) -> list[LessonFigure]:
    evidence: LassoZeros = measured.evidence
    values = measured.values
    corner = evidence.corner
    zeros = ", ".join(f"{arm} {column.mean():.1f} %" for arm, column in evidence.zeros.items())
    return [
        LessonFigure(
            name="geometry",
            figure=_geometry(corner, theme),
            caption=(
                f"Two inputs of the diabetes data, {' and '.join(corner.names)}. Ellipses join coefficients of equal"
                " squared error; the dot in their middle is least squares. The square marks the computed solution,"
                " where the thick ellipse touches the coloured constraint. Both constraints reach equally far along"
                " the axes."
            ),
            alternative=(
                f"Left, the diamond: the Lasso solution is {_pair(corner.lasso)}. Right, the circle: the Ridge solution"
                f" is {_pair(corner.ridge)}. Least squares lies at {_pair(corner.least_squares)}."
            ),
        ),
        LessonFigure(
            name="paths",
            figure=_paths(evidence, theme),
            caption=(
                "Left: coefficients of the Lasso against λ; a line that lies on zero is an input that was removed."
                " Right: how many of the noise inputs and of the real inputs each method removes; a dot for each draw"
                " of the noise."
            ),
            alternative=(
                f"Lasso at the cross-validated strength removes {values['noise_removed']:.0f} % of the noise inputs,"
                f" {values['noise_removed_1se']:.0f} % by the one-standard-error rule; Ridge at most"
                f" {values['ridge_removed']:.2g} %."
            ),
        ),
        LessonFigure(
            name="networks",
            figure=_networks(evidence, theme),
            caption=(
                "Exact zeros among the weights of the networks and their test accuracy, by arm; a dot for each seed, a"
                " bar at the mean."
            ),
            alternative=f"Mean share of exact zeros: {zeros}.",
        ),
    ]


def _pair(theta: Array) -> str:
    return f"({theta[0]:.1f}, {theta[1]:.1f})"


def _geometry(corner: Corner, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 5.4), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    t = corner.size
    low = np.minimum(corner.least_squares, 0) - 1.15 * t
    high = low + (np.maximum(corner.least_squares, t) - low).max() + 1.05 * t  # a square
    grid = np.meshgrid(np.linspace(low[0], high[0], 241), np.linspace(low[1], high[1], 241))
    error = corner.error(*grid)
    shapes: list[tuple[str, Any, Array, int]] = [
        ("L1: |θ₁| + |θ₂| ≤ t", Polygon([(t, 0), (0, t), (-t, 0), (0, -t)]), corner.lasso, 0),
        ("L2: θ₁² + θ₂² ≤ t²", Circle((0, 0), t), corner.ridge, 1),
    ]
    for axes, (title, shape, solution, index) in zip(panels, shapes, strict=True):
        touching = float(corner.error(*solution))
        colour = theme.colours[index]
        levels = touching * np.array([0.05, 0.2, 0.5])
        axes.contour(*grid, error, levels=levels, colors=[theme.soft], linewidths=1)
        axes.contour(*grid, error, levels=[touching], colors=[theme.ink], linewidths=2.2)
        shape.set(facecolor=colour, alpha=0.3, edgecolor=colour, linewidth=2)
        axes.add_patch(shape)
        axes.axhline(0, color=theme.soft, linewidth=1)
        axes.axvline(0, color=theme.soft, linewidth=1)
        axes.plot(*corner.least_squares, "o", color=theme.ink, markersize=7)
        axes.annotate(
            "least squares",
            corner.least_squares,
            xytext=(-4, 9),
            textcoords="offset points",
            ha="center",
            fontsize=11,
        )
        axes.plot(*solution, "s", color=colour, markeredgecolor=theme.ink, markersize=9)
        axes.annotate(
            f"θ = {_pair(solution)}",
            solution,
            xytext=(13, 9),
            textcoords="offset points",
            bbox={"facecolor": theme.paper, "edgecolor": "none", "alpha": 0.85, "pad": 2},
        )
        axes.set_title(title)
        axes.set_aspect("equal")
        axes.grid(False)
        axes.set_xlim(low[0], high[0])
        axes.set_ylim(low[1], high[1])
        axes.set_xlabel(f"θ₁, the coefficient of {corner.names[0]}")
    panels[0].set_ylabel(f"θ₂, the coefficient of {corner.names[1]}")
    return figure


def _paths(evidence: LassoZeros, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    path, bars = figure.subplots(1, 2, width_ratios=[1.35, 1])
    for j, name in enumerate(evidence.names):
        dashes = ((), *DASHES)[j % (len(DASHES) + 1)]
        look: dict[str, Any] = {"color": theme.colours[j % len(theme.colours)], "dashes": dashes}
        path.plot(evidence.strengths, evidence.lasso[:, j], label=name, **look)
    path.set_xscale("log")
    path.axhline(0, color=theme.soft, linewidth=1, zorder=1)
    path.set_xlabel("strength λ (1/(2m)·λ·Σ|θ| in the cost)")
    path.set_ylabel("coefficient θ(λ)")
    path.set_title("Coefficients of the Lasso")
    _removed(bars, evidence, theme)
    handles, labels = path.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=10, handlelength=2.2, columnspacing=1.2)
    return figure


def _removed(axes: Axes, evidence: LassoZeros, theme: Theme) -> None:
    spread = np.random.default_rng(0)
    for row, (noise, real) in enumerate(evidence.removed.values()):
        for offset, values, index, label in (
            (-0.17, noise, 0, "noise inputs"),
            (0.17, real, 2, "real inputs"),
        ):
            colour = theme.colours[index]
            axes.barh(
                row + offset,
                values.mean(),
                height=0.3,
                color=colour,
                alpha=0.4,
                label=label if row == 0 else None,
                hatch="" if index == 0 else "///",
                edgecolor=colour,
            )
            jitter = spread.uniform(-0.09, 0.09, len(values))
            axes.plot(values, row + offset + jitter, "o", color=colour, markersize=4.5)
    axes.set_yticks(range(len(evidence.removed)), [name.replace(", ", ",\n") for name in evidence.removed])
    axes.invert_yaxis()
    axes.grid(False, axis="y")
    axes.set_xlim(-2, 104)
    axes.set_xlabel("inputs removed (%)")
    axes.set_title("Inputs with a coefficient of exactly 0")
    axes.legend(loc="lower right")


def _networks(evidence: LassoZeros, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    labels = list(evidence.zeros)
    columns = ((evidence.zeros, "exact zeros (% of the weights)"), (evidence.accuracy, "test accuracy (%)"))
    for axes, (table, label) in zip(panels, columns, strict=True):
        for row, (arm, values) in enumerate(table.items()):
            colour = theme.baseline if arm == "none" else theme.colours[0 if arm.startswith("L1") else 1]
            axes.plot(values, np.full(len(values), row), "o", color=colour, markersize=6, alpha=0.8)
            axes.plot([np.nanmean(values)] * 2, [row - 0.3, row + 0.3], color=colour, linewidth=2.5)
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_yticks(range(len(labels)), labels)
    panels[0].invert_yaxis()
    panels[0].set_xlim(-2, None)
    panels[0].set_title("Weights that are exactly zero")
    panels[1].set_title("Test accuracy")
    return figure
