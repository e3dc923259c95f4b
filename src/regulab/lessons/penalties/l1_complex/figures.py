"""The figures of the lesson ``l1-complex``."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from regulab.lessons.kit.lesson import LessonFigure, Measured
from regulab.lessons.penalties.l1_complex.experiment import PenalizedFits
from regulab.reporting.theme import Theme
from regulab.statistics.intervals import mean_interval

EXPLAINED = (-np.inf, 100.0)  # of the variance, in percent: a bad fit explains less than nothing


def draw(measured: Measured, theme: Theme) -> list[LessonFigure]:
    evidence: PenalizedFits = measured.evidence
    values = measured.values
    scores = "; ".join(
        f"{name}: network with L1 {values[f'L1: {name}']:.1f} %, with L2 {values[f'L2: {name}']:.1f} %, linear model"
        f" {values[f'linear L1: {name}']:.1f} and {values[f'linear L2: {name}']:.1f} %"
        for name in evidence.fits
    )
    return [
        LessonFigure(
            name="path",
            figure=_path(evidence, theme),
            caption=(
                "Variance explained on test data against the strength of the penalty: mean of the networks and its 95 %"
                " interval over the seeds. The large marks are the networks whose strength was chosen on validation"
                " (mean over seeds, at the median strength); the horizontal lines are linear models, chosen likewise."
            ),
            alternative=f"Explained variance at the strengths chosen on validation. {scores}.",
        ),
        LessonFigure(
            name="weights",
            figure=_weights(evidence, theme),
            caption=(
                "First-layer weights of the networks that seed 0 chose on the complex target with few inputs: a row for"
                " each input, a column for each hidden unit, the most influential first. Exact zeros are grey; only"
                f" x₁ to x{_subscript(evidence.relevant['complex, few inputs'])}, above the line, matter."
            ),
            alternative="; ".join(
                f"{penalty}: {100 * np.mean(layer != 0):.0f} % of the first layer's weights are not zero"
                for penalty, layer in evidence.layers.items()
            )
            + ".",
        ),
    ]


def _path(evidence: PenalizedFits, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    panels = figure.subplots(1, len(evidence.fits), sharey=True)
    for axes, (name, fit) in zip(panels, evidence.fits.items(), strict=True):
        for index, (penalty, marker, line) in enumerate((("L1", "o", "-"), ("L2", "s", "--"))):
            colour = theme.colours[index]
            means = fit.test[:, index].mean(0)
            intervals = [
                mean_interval(column, bounds=EXPLAINED) or (column[0], column[0])
                for column in fit.test[:, index].T
            ]
            low, high = np.transpose(intervals)
            axes.fill_between(evidence.strengths, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(
                evidence.strengths,
                means,
                line,
                color=colour,
                marker=marker,
                markersize=4,
                label=f"network, {penalty}",
            )
            middle = evidence.strengths[int(np.median(fit.chosen[:, index]))]
            axes.plot(
                middle,
                fit.best[:, index].mean(),
                marker,
                color=colour,
                markersize=11,
                markeredgecolor=theme.ink,
            )
            axes.axhline(
                evidence.linear[name][:, index].mean(),
                color=colour,
                linewidth=1.4,
                linestyle=(0, (1, 1.5)) if index else (0, (6, 6)),
                label=f"linear model, {penalty}",
            )
        axes.set_xscale("log")
        axes.set_title(f"Target: {name}")
        axes.set_xlabel("strength λ₁ or λ₂")
        axes.set_ylim(-5, 103)
    panels[0].set_ylabel("variance explained on test (%)")
    handles, labels = panels[0].get_legend_handles_labels()
    order = [0, 2, 1, 3]
    figure.legend(
        [handles[i] for i in order], [labels[i] for i in order], loc="outside lower center", ncols=4
    )
    return figure


def _weights(evidence: PenalizedFits, theme: Theme) -> Figure:
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    reach = max(float(np.abs(layer).max()) for layer in evidence.layers.values())
    ends = [theme.colours[0], theme.paper, theme.colours[1]]
    colours = LinearSegmentedColormap.from_list("weights", ends).with_extremes(bad=theme.faint)
    image = None
    for axes, (penalty, layer) in zip(panels, evidence.layers.items(), strict=True):
        image = axes.imshow(
            np.ma.masked_equal(layer, 0),
            cmap=colours,
            vmin=-reach,
            vmax=reach,
            aspect="auto",
            interpolation="nearest",
        )
        axes.axhline(evidence.relevant["complex, few inputs"] - 0.5, color=theme.ink, linewidth=1.5)
        axes.grid(False)
        axes.set_title(f"{penalty}: {100 * np.mean(layer != 0):.0f} % of these weights are not zero")
        axes.set_xlabel("hidden unit, by influence on the output")
        axes.set_yticks(range(len(layer)), [f"x{_subscript(i + 1)}" for i in range(len(layer))])
        axes.set_xticks([0, 5, 11, 17, 23], ["1", "6", "12", "18", "24"])
    panels[0].set_ylabel("input")
    assert image is not None
    figure.colorbar(image, ax=panels, label="weight", pad=0.01)
    return figure


def _subscript(number: int) -> str:
    return "".join("₀₁₂₃₄₅₆₇₈₉"[int(digit)] for digit in str(number))
