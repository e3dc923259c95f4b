"""The figures of the lesson ``augmentation``."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from regulab.lessons.kit.lesson import LessonFigure, Measured
from regulab.lessons.training.augmentation.experiment import ANY, BOTH, EPOCHS_SHOWN, MORE, AccuraciesAndViews
from regulab.reporting.palette import DASHES
from regulab.reporting.theme import Theme
from regulab.statistics.intervals import PERCENT, mean_interval


def draw(measured: Measured, theme: Theme) -> list[LessonFigure]:
    evidence: AccuraciesAndViews = measured.evidence
    return [_draws_picture(evidence, theme), _gap_picture(evidence, theme)]


def _draws_picture(evidence: AccuraciesAndViews, theme: Theme) -> LessonFigure:
    shown, rows = len(EPOCHS_SHOWN), len(evidence.originals)
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    widths = [1, 0.2, *[1] * shown, 0.2, *[1] * shown]
    places = figure.subplots(rows, len(widths), width_ratios=widths, squeeze=False)
    for axes in places.flat:
        axes.set_axis_off()
    for row in range(rows):
        _show(places[row, 0], evidence.originals[row], theme)
    places[0, 0].set_title("original")
    for first, arm in ((2, BOTH), (3 + shown, ANY)):
        for column, epoch in enumerate(EPOCHS_SHOWN):
            for row in range(rows):
                axes = places[row, first + column]
                _show(axes, evidence.views[arm][column, row], theme)
                axes.set_xlabel(f"{round(float(evidence.angles[arm][column, row])):+d}°", fontsize=11)
            places[0, first + column].set_title(f"{arm if column == 0 else ''}\nepoch {epoch}", loc="left")
    angles = ", ".join(f"{round(float(angle)):+d}°" for angle in evidence.angles[ANY].T.flat)
    return LessonFigure(
        name="draws",
        figure=figure,
        caption=(
            "Three training images, and what a network was shown in their place in its first epochs, drawn by the"
            " training's own code and streams, with the angle of each. The two arms share their draws: the same u"
            " makes a small turn on the left and a large one on the right."
        ),
        alternative=(
            f"A grid of images: {rows} originals, each with {shown} small random rotations and shifts, and {shown}"
            f" rotations by any angle, row by row by {angles}."
        ),
    )


def _show(axes: Axes, image: NDArray[np.float32], theme: Theme) -> None:
    axes.set_axis_on()
    axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(visible=True, color=theme.soft)


def _gap_picture(evidence: AccuraciesAndViews, theme: Theme) -> LessonFigure:
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.35, 1])
    colours = dict(zip(evidence.test, (theme.baseline, *theme.colours), strict=False))
    for place, arm in enumerate(evidence.test):
        _gap_row(left, -place, evidence.train[arm], evidence.test[arm], colours[arm])
    labels = [
        arm if arm not in evidence.verdicts else f"{arm}\n{evidence.verdicts[arm]}" for arm in evidence.test
    ]
    left.set_yticks([-place for place in range(len(labels))], labels)
    left.set_ylim(-len(labels) + 0.4, 0.6)
    left.set_xlabel("accuracy (%)")
    left.set_title("From test (dot, 95 % interval) to training (ring): the gap")
    left.grid(axis="y", visible=False)
    for place, (arm, curve) in enumerate(evidence.validation.items()):
        style = {"dashes": DASHES[place - 1]} if place else {}
        right.plot(np.arange(1, len(curve) + 1), curve, color=colours[arm], label=arm, **style)
    right.set_xlabel("epoch")
    right.set_ylabel("validation accuracy (%)")
    right.set_title("While training: mean over the seeds")
    right.legend(loc="lower right")
    gaps = "; ".join(
        f"{arm}: training {evidence.train[arm].mean():.1f} %, test {evidence.test[arm].mean():.1f} %"
        for arm in evidence.test
    )
    return LessonFigure(
        name="gap",
        figure=figure,
        caption=(
            "Left: test accuracy and training accuracy of each arm, joined by the gap; small dots are single seeds, the"
            f" word is the verdict against none. {MORE}: real images, no augmentation, as many steps. Right:"
            " validation accuracy over the epochs."
        ),
        alternative=f"Accuracies on training and test images. {gaps}.",
    )


def _gap_row(
    axes: Axes, place: float, train: NDArray[np.float64], test: NDArray[np.float64], colour: str
) -> None:
    """One arm as a row: the seeds, the mean with its interval, the mean on training images, the gap between."""
    low, high = mean_interval(test, bounds=PERCENT) or (test.mean(), test.mean())
    axes.plot([test.mean(), train.mean()], [place, place], color=colour, linewidth=1, linestyle=":")
    axes.plot([low, high], [place, place], color=colour, linewidth=4, solid_capstyle="butt", alpha=0.55)
    axes.plot(test, np.full(len(test), place + 0.22), ".", color=colour, markersize=4, alpha=0.7)
    axes.plot(test.mean(), place, "o", color=colour, markersize=8)
    axes.plot(
        train.mean(), place, "o", color=colour, markersize=8, markerfacecolor="none", markeredgewidth=1.6
    )
    middle = (test.mean() + train.mean()) / 2
    axes.text(middle, place - 0.1, f"{train.mean() - test.mean():.1f}", ha="center", va="top", fontsize=11)
