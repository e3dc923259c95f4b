"""The figures of the lesson ``early-stopping``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from regulab.lessons.kit.lesson import LessonFigure, Measured, Values
from regulab.lessons.training.early_stopping.experiment import (
    EARLIER,
    END,
    IMPATIENT,
    PATIENCE,
    STOPPED,
    StoppingCurves,
)
from regulab.reporting.palette import DASHES
from regulab.reporting.theme import Theme


def draw(measured: Measured, theme: Theme) -> list[LessonFigure]:
    evidence: StoppingCurves = measured.evidence
    return [_curves_picture(evidence, theme), _cost_picture(evidence, theme, measured.values)]


def _curves_picture(evidence: StoppingCurves, theme: Theme) -> LessonFigure:
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    seed = evidence.chosen
    best, stop = int(evidence.best[seed]), int(evidence.stop[seed])
    for axes, curves, word in (
        (left, evidence.loss, "loss (nats)"),
        (right, evidence.accuracy, "accuracy (%)"),
    ):
        _curves(axes, curves, seed, theme)
        axes.axvspan(stop, curves["validation"].shape[1], color=theme.faint, alpha=0.35, linewidth=0)
        axes.axvline(stop, color=theme.ink, linewidth=1.3, linestyle="--", label="stop")
        value = curves["validation"][seed, best - 1]
        axes.plot(
            best,
            value,
            "o",
            color=theme.ink,
            markersize=9,
            markerfacecolor="none",
            markeredgewidth=2,
            label="best epoch: the weights restored",
        )
        axes.set_xlabel("epoch")
        axes.set_ylabel(word)
        axes.set_xlim(0, curves["validation"].shape[1])
        axes.set_title(word.partition(" ")[0].capitalize())
    lowest = np.nanmin(evidence.loss["validation"], axis=1)
    left.set_ylim(0, 3 * float(lowest.max()))
    right.set_ylim(top=102)
    right.legend(loc="lower right")
    loss = evidence.loss["validation"][seed]
    return LessonFigure(
        name="curves",
        figure=figure,
        caption=(
            "Runs that went on to the end: thin lines are the seeds, thick ones the seed with the median stop. Its best"
            f" epoch is ringed; with patience {PATIENCE} it stops at the dashed line, and the shaded epochs are saved."
        ),
        alternative=(
            f"Loss and accuracy over epochs on training and validation images. Of the thick seed the validation loss is"
            f" lowest, {loss[best - 1]:.3f} nats, in epoch {best}; the stop is at epoch {stop}; at the end it is"
            f" {loss[-1]:.3f} nats."
        ),
    )


def _curves(axes: Axes, curves: Mapping[str, NDArray[np.float64]], seed: int, theme: Theme) -> None:
    for part, colour, dashes in (
        ("training", theme.colours[1], DASHES[1]),
        ("validation", theme.colours[0], (1, 0)),
    ):
        epochs = np.arange(1, curves[part].shape[1] + 1)
        axes.plot(epochs, curves[part].T, color=colour, linewidth=0.7, alpha=0.45)
        axes.plot(epochs, curves[part][seed], color=colour, linewidth=2.4, dashes=dashes, label=part)


def _cost_picture(evidence: StoppingCurves, theme: Theme, values: Values) -> LessonFigure:
    figure = Figure(figsize=(10, 3.9), layout="constrained")
    order = (EARLIER, STOPPED, END)
    nothing: Mapping[str, str] = {}
    panels = (
        (evidence.test_loss, "test loss (nats)", nothing),
        (evidence.test_accuracy, "test accuracy (%)", evidence.verdicts),
    )
    for axes, (results, label, verdicts) in zip(figure.subplots(1, 2), panels, strict=True):
        table = np.stack([results[arm] for arm in order])
        axes.plot(range(len(order)), table, color=theme.soft, linewidth=0.9, marker=".", alpha=0.8)
        axes.plot(
            range(len(order)),
            table.mean(1),
            color=theme.colours[0],
            linewidth=2.6,
            marker="o",
            markersize=8,
            label="mean of the seeds",
        )
        axes.set_xticks(
            range(len(order)), [f"{arm}\n{verdicts[arm]}" if arm in verdicts else arm for arm in order]
        )
        axes.set_xlim(-0.3, len(order) - 0.7)
        axes.set_ylabel(label)
        axes.set_title(label.partition(" (")[0].capitalize())
        axes.grid(axis="x", visible=False)
        axes.legend(loc="best")
    return LessonFigure(
        name="cost",
        figure=figure,
        caption=(
            f"Every thin line is one seed: stopped with patience {IMPATIENT}, with patience {PATIENCE}, and trained to"
            f" the end. The words are the verdicts on test accuracy against {END}."
        ),
        alternative=(
            f"Test loss and test accuracy of stopped and full-length runs. {STOPPED}:"
            f" {evidence.test_loss[STOPPED].mean():.3f} nats and {values['accuracy_stopped']:.1f} %; {END}:"
            f" {evidence.test_loss[END].mean():.3f} nats and {values['accuracy_end']:.1f} %."
        ),
    )
