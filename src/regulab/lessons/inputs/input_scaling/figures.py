"""The figures of the lesson ``input-scaling``."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from regulab.lessons.inputs.input_scaling.experiment import (
    DESCENT,
    REACHED,
    SOURCES,
    VERSIONS,
    Array,
    ScaledDescents,
)
from regulab.lessons.kit.lesson import LessonFigure, Measured
from regulab.reporting.palette import DASHES
from regulab.reporting.theme import Theme


def draw(measured: Measured, theme: Theme) -> list[LessonFigure]:
    evidence: ScaledDescents = measured.evidence
    values = measured.values
    conditions = "; ".join(
        f"{evidence.data[source]}: "
        + ", ".join(
            f"{name} {values[f'{source}_{name}_condition']:,.0f} and {values[f'{source}_{name}_epochs']:,}"
            for name in VERSIONS
        )
        for source in SOURCES
    )
    return [
        LessonFigure(
            name="steps",
            figure=_scatter_figure(evidence, theme),
            caption=(
                "Two correlated features at each step, both axes of a panel to one scale. The cross marks the origin,"
                " the ellipse two standard deviations of the covariance."
            ),
            alternative=(
                "Scatter plots of two features, raw, centred, scaled and whitened, for a table and for images. The"
                " cloud moves to the origin, is brought to equal widths, and loses its slant."
            ),
        ),
        LessonFigure(
            name="descent",
            figure=_descent_figure(evidence, theme),
            caption=(
                "Left: eigenvalues of the Hessian over the largest, in falling order. Right: excess of the squared loss"
                " over gradient descent with η = 1/hmax; the dotted line is the loss to reach."
            ),
            alternative=f"Spectra and loss curves. Condition numbers and epochs, {conditions}.",
        ),
    ]


def _scatter_figure(evidence: ScaledDescents, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    panels = figure.subplots(2, 4)
    for row, source in enumerate(SOURCES):
        for column, name in enumerate(VERSIONS):
            axes = panels[row, column]
            _scatter(axes, evidence.points[source][name], theme.colours[row], theme)
            axes.set_title(name if row == 0 else "")
        panels[row, 0].set_ylabel(f"{evidence.data[source]}\n{evidence.names[source][1]}")
        for axes in panels[row]:
            axes.set_xlabel(evidence.names[source][0])
    return figure


def _scatter(axes: Axes, points: Array, colour: str, theme: Theme) -> None:
    shown = points[np.random.default_rng(0).permutation(len(points))[:600]]
    axes.scatter(shown[:, 0], shown[:, 1], s=9, color=colour, alpha=0.45, linewidths=0, rasterized=True)
    axes.plot(0, 0, "+", color=theme.ink, markersize=13, markeredgewidth=2)
    variances, directions = np.linalg.eigh(np.cov(points.T))
    axes.add_patch(
        Ellipse(
            tuple(points.mean(0)),
            *(4 * np.sqrt(variances)),
            angle=float(np.degrees(np.arctan2(directions[1, 0], directions[0, 0]))),
            fill=False,
            edgecolor=theme.ink,
            linewidth=1.6,
        )
    )
    mean, reach = points.mean(0), 2 * points.std(0)
    corners = np.vstack((shown, np.zeros((1, 2)), mean - reach, mean + reach))
    middle = (corners.max(0) + corners.min(0)) / 2
    half = 0.56 * float(np.ptp(corners, axis=0).max())
    axes.set(
        xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half), aspect="equal"
    )


def _descent_figure(evidence: ScaledDescents, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 7), layout="constrained")
    panels = figure.subplots(2, 2)
    for row, source in enumerate(SOURCES):
        spectrum, curve = panels[row]
        for index, name in enumerate(VERSIONS):
            descent = evidence.descents[source][name]
            look = {
                "color": theme.baseline if index == 0 else theme.colours[index - 1],
                "linestyle": "-" if index == 0 else (0, DASHES[index - 1]),
                "label": name,
            }
            places = np.arange(1, len(descent.eigenvalues) + 1)
            marker = {"marker": "o", "markersize": 4} if len(places) < 100 else {}
            spectrum.plot(places, descent.eigenvalues / descent.eigenvalues[0], **look, **marker)
            curve.plot(np.arange(DESCENT + 1), np.maximum(descent.excess, 1e-9), **look)
        curve.axhline(REACHED, color=theme.soft, linewidth=1.2, linestyle=":")
        spectrum.set(yscale="log", ylabel=f"{evidence.data[source]}: h ÷ hmax", ylim=(1e-10, 3))
        curve.set_xscale("symlog", linthresh=1)
        curve.set(yscale="log", xlim=(0, DESCENT), ylim=(1e-4, 1.3))
        curve.set_ylabel("excess loss ÷ that at the start")
    panels[1, 0].set_xlabel("eigenvalue of the Hessian, by size")
    panels[1, 1].set_xlabel("epochs")
    panels[0, 0].legend(loc="lower left")
    return figure
