"""The figures of the lesson ``l2-shrinks``."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regulab.lessons.kit.lesson import LessonFigure, Measured
from regulab.lessons.penalties.l2_shrinks.experiment import ShrunkenCoefficients
from regulab.reporting.palette import DASHES
from regulab.reporting.theme import Theme


def draw(measured: Measured, theme: Theme) -> list[LessonFigure]:
    evidence: ShrunkenCoefficients = measured.evidence
    values = measured.values
    return [
        LessonFigure(
            name="coefficients",
            figure=_coefficients(evidence, theme),
            caption=(
                "Ridge regression. Top left: coefficients of standardized inputs against λ. The other three panels show"
                " what is left of each, as a factor of its least-squares value; the broken vertical line is where ‖θ‖"
                " has been halved. Of the principal directions four are shown: marks are measured, lines are"
                " s²/(s² + λ)."
            ),
            alternative=(
                "Four panels against λ on a logarithmic axis. With orthonormal inputs all factors lie on 1/(1 + λ)."
                f" On real inputs they spread: from {values['least_factor']:.2f} to {values['largest_factor']:.2f} at"
                f" λ = {values['half']:.3g}. Along principal directions they follow s²/(s² + λ)."
            ),
        ),
        LessonFigure(
            name="weights",
            figure=_networks(evidence, theme),
            caption=(
                f"Weights of {evidence.seeds} networks for each strength of L2 (logarithmic counts), and their root"
                " mean square layer by layer."
            ),
            alternative=(
                "Histograms of network weights by strength of L2, and the size of the weights of each layer. ‖w‖ fell"
                f" in {values['ordered']:.0f} % of the steps to the next stronger penalty; at most"
                f" {values['network_zeros']:.2g} % exact zeros."
            ),
        ),
    ]


def _coefficients(evidence: ShrunkenCoefficients, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 8.2), layout="constrained")
    (paths, flat), (real, directions) = figure.subplots(2, 2, sharex=True)
    for j, name in enumerate(evidence.names):
        look: dict[str, Any] = {"color": theme.colours[j % len(theme.colours)], "dashes": _dashes(j)}
        paths.plot(evidence.strengths, evidence.path[:, j], label=name, **look)
        flat.plot(evidence.strengths, evidence.flat[:, j], **look)
        real.plot(evidence.strengths, evidence.factors[:, j], **look)
    flat.plot(
        evidence.strengths[::4],
        1 / (1 + evidence.strengths[::4]),
        "o",
        color=theme.ink,
        markersize=4,
        label="1/(1 + λ)",
    )
    _directions(directions, evidence, theme)
    for axes in (paths, flat, real, directions):
        axes.set_xscale("log")
        axes.axhline(0, color=theme.soft, linewidth=1)
        if axes is not flat:
            axes.axvline(evidence.half, color=theme.soft, linewidth=1, linestyle=(0, (5, 3)))
    real.axhline(1, color=theme.soft, linewidth=1)
    paths.set_title("Coefficients, real inputs")
    flat.set_title("Factors, orthonormal inputs (all ten lines)")
    real.set_title("Factors, real inputs")
    directions.set_title("Factors along principal directions, real inputs")
    paths.set_ylabel("coefficient θ(λ)")
    for axes in (flat, real, directions):
        axes.set_ylabel("θ(λ) / θ(0)")
    for axes in (real, directions):
        axes.set_xlabel("strength λ (1/(2m)·λ·Σθ² in the cost)")
    flat.legend(loc="upper right")
    handles, labels = paths.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=10, handlelength=2.2, columnspacing=1.2)
    return figure


def _dashes(index: int) -> tuple[float, ...]:
    """A solid line first, then the palette's."""
    return ((), *DASHES)[index % (len(DASHES) + 1)]


def _directions(axes: Axes, evidence: ShrunkenCoefficients, theme: Theme) -> None:
    """The measured factors as marks on the lines of s²/(s² + λ), of every third direction."""
    shown = np.unique(np.linspace(0, len(evidence.squares) - 1, 4).astype(int))
    for place, i in enumerate(shown):
        square, colour = evidence.squares[i], theme.colours[place % len(theme.colours)]
        axes.plot(
            evidence.strengths, square / (square + evidence.strengths), color=colour, dashes=_dashes(place)
        )
        axes.plot(
            evidence.strengths[::4],
            evidence.directions[::4, i],
            "o",
            color=colour,
            markersize=4.5,
            label=f"s² = {square:,.3g}" if square < 1000 else f"s² = {square:,.0f}",
        )
    axes.legend(loc="upper right", fontsize=10.5, handletextpad=0.2)


def _networks(evidence: ShrunkenCoefficients, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    cells = figure.add_gridspec(1, 2, width_ratios=[1.6, 1])
    left, right = figure.add_subfigure(cells[0]), figure.add_subfigure(cells[1])
    histograms, layers = left.subplots(2, 2, sharex=True, sharey=True), right.subplots()
    reach = max(float(np.quantile(np.abs(w), 0.999)) for w in evidence.weights.values())
    edges = np.linspace(-reach, reach, 62)
    colours = (theme.baseline, *theme.colours)
    for index, (axes, (arm, weights)) in enumerate(
        zip(histograms.flat, evidence.weights.items(), strict=True)
    ):
        axes.hist(weights, edges, color=colours[index])
        axes.set_yscale("log")
        axes.set_title(arm)
        sizes = evidence.layers[arm]
        look: dict[str, Any] = {"color": colours[index], "marker": "os^D"[index], "dashes": _dashes(index)}
        layers.plot(range(1, len(sizes) + 1), sizes, label=arm, **look)
    left.supxlabel("weight", fontsize=12)
    left.supylabel("weights per bin", fontsize=12)
    layers.set_title("Size of the weights, layer by layer")
    layers.set_xlabel("layer, from the input on")
    layers.set_xticks(range(1, len(evidence.layers["none"]) + 1))
    layers.set_ylabel("root mean square of the weights")
    layers.set_ylim(bottom=0)
    layers.legend()
    return figure
