"""The figures of the lesson ``batch-norm-position``."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from regulab.lessons.batch_norm.batch_norm_position.experiment import ARMS, SHOWN, NormPositionCurves, signed
from regulab.lessons.kit.bands import BAND, plot_band
from regulab.lessons.kit.lesson import LessonFigure, Measured, Values
from regulab.reporting.theme import Theme


def draw(measured: Measured, theme: Theme) -> list[LessonFigure]:
    evidence: NormPositionCurves = measured.evidence
    return [_training(evidence, measured.values, theme), _distributions(evidence, theme)]


def _training(evidence: NormPositionCurves, values: Values, theme: Theme) -> LessonFigure:
    figure = Figure(figsize=(10, 4.3))
    figure.set_layout_engine("constrained", w_pad=0.1)
    loss, validation, seeds = figure.subplots(1, 3)
    epochs = np.arange(1, evidence.loss["before"].shape[1] + 1)
    for index, arm in enumerate(ARMS):
        style = {"colour": theme.colours[index], "label": f"{arm} ReLU", "dashes": (5, 2) if index else None}
        plot_band(loss, epochs, evidence.loss[arm], **style)  # type: ignore[arg-type]
        plot_band(validation, epochs, evidence.validation[arm], **style)  # type: ignore[arg-type]
    loss.set(yscale="log", title="Training loss", ylabel="cross-entropy (nats)")
    validation.set(title="Validation accuracy", ylabel="accuracy (%)")
    for axes in (loss, validation):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    handles, labels = loss.get_legend_handles_labels()
    _pairs(seeds, evidence, theme)
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, handlelength=3.4)
    figure.suptitle("Batch normalization before and after ReLU")
    return LessonFigure(
        name="training",
        figure=figure,
        caption=(
            f"Left and middle, {BAND}. Right: test accuracy of the final weights; a line joins the two networks of"
            " a seed, which began with the same weights; bars are means."
        ),
        alternative=(
            f"Training loss and validation accuracy by epoch for both places of the norm, and test accuracies seed by"
            f" seed: mean {values['accuracy_before']:.2f} % before ReLU, {values['accuracy_after']:.2f} % after;"
            f" verdict {values['verdict']}."
        ),
    )


def _pairs(axes: Axes, evidence: NormPositionCurves, theme: Theme) -> None:
    pairs = np.stack([evidence.accuracy[arm] for arm in ARMS])
    axes.plot([0, 1], pairs, color=theme.soft, linewidth=0.9, alpha=0.7)
    for index in range(len(ARMS)):
        axes.plot(np.full(pairs.shape[1], index), pairs[index], "o", color=theme.colours[index], markersize=6)
        mean = pairs[index].mean()
        axes.plot([index - 0.22, index + 0.22], [mean, mean], color=theme.colours[index], linewidth=3)
    axes.set(title="Test accuracy by seed", ylabel="accuracy (%)", xlim=(-0.5, 1.5))
    axes.set_xticks([0, 1], [f"{arm} ReLU" for arm in ARMS])
    axes.grid(axis="x", visible=False)


def _distributions(evidence: NormPositionCurves, theme: Theme) -> LessonFigure:
    figure = Figure(figsize=(10, 5.8))
    figure.set_layout_engine("constrained", w_pad=0.1)
    places = figure.subplots(2, 2)
    rows = (("relu", "into ReLU"), ("following", "into the next layer"))
    for column, arm in enumerate(ARMS):
        for row, (part, name) in enumerate(rows):
            _histogram(places[row, column], getattr(evidence.passed[arm], part), theme.colours[column], theme)
            places[row, column].set_title(f"norm {arm} ReLU: {name}")
    for axes in places[:, 0]:
        axes.set_ylabel("share of values (%)")
    for axes in places[1]:
        axes.set_xlabel("value")
    figure.suptitle(f"What passes through block {SHOWN + 1}")
    shares = "; ".join(
        f"norm {arm} ReLU: {_active(evidence.passed[arm].relu):.0f} % enter ReLU above 0" for arm in ARMS
    )
    return LessonFigure(
        name="values",
        figure=figure,
        caption=(
            f"All values of block {SHOWN + 1} in one trained network. The thin line marks 0, the dot the mean. The"
            " horizontal scales differ."
        ),
        alternative=f"Four histograms of activations. {shares}.",
    )


def _active(values: NDArray[np.float32]) -> float:
    return float(100 * (values > 0).mean())


def _histogram(axes: Axes, values: NDArray[np.float32], colour: str, theme: Theme) -> None:
    low, high = np.quantile(values, [0.002, 0.998])
    width = (high - low) / 40
    edges = np.arange(np.floor(low / width) - 0.5, high / width + 1) * width
    shares = 100 * np.histogram(values, edges)[0] / values.size
    axes.stairs(shares, edges, fill=True, color=colour)
    axes.axvline(0, color=theme.soft, linewidth=1)
    axes.plot(values.mean(), 0, "o", color=theme.ink, markersize=7, clip_on=False, zorder=5)
    axes.set_ylim(0, 1.08 * shares.max())
    text = (
        f"mean {signed(float(values.mean()))}\ndeviation {values.std():.2f}\nabove 0: {_active(values):.0f} %"
    )
    axes.text(0.98, 0.94, text, transform=axes.transAxes, ha="right", va="top", fontsize=11, color=theme.ink)
