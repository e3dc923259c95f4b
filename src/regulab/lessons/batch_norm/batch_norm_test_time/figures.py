"""The figures of the lesson ``batch-norm-test-time``."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regulab.lessons.batch_norm.batch_norm_test_time.experiment import (
    COMPANIES,
    POLLUTING,
    SHIFTS,
    TestTimeAccuracies,
)
from regulab.lessons.kit.bands import BAND, plot_band
from regulab.lessons.kit.lesson import LessonFigure, Measured, Values
from regulab.reporting.theme import Theme


def draw(measured: Measured, theme: Theme) -> list[LessonFigure]:
    evidence: TestTimeAccuracies = measured.evidence
    return [
        _draw_sizes(evidence, measured.values, theme),
        _draw_shift(evidence, measured.values, theme),
        _draw_forgotten(evidence, measured.values, theme),
    ]


def _draw_sizes(evidence: TestTimeAccuracies, values: Values, theme: Theme) -> LessonFigure:
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    axes = figure.subplots()
    running = np.tile(evidence.running[:, None], len(evidence.sizes))
    for label, lines, colour, dashes, marker in (
        ("running averages", running, theme.baseline, None, ""),
        ("batch statistics, shuffled", evidence.shuffled, theme.colours[0], None, "o"),
        ("batch statistics, sorted by class", evidence.by_class, theme.colours[1], (5, 2), "s"),
    ):
        plot_band(axes, evidence.sizes, lines, colour, label, dashes=dashes, marker=marker)
    axes.set_xscale("log", base=2)
    axes.set_xticks(evidence.sizes, [str(size) for size in evidence.sizes])
    axes.set(xlabel="batch size at test time", ylabel="test accuracy (%)", ylim=(0, 102))
    axes.set_title("Test accuracy by batch size")
    axes.legend(loc="lower right", frameon=False, handlelength=3.2)
    return LessonFigure(
        name="batch-size",
        figure=figure,
        caption=f"{BAND[0].upper()}{BAND[1:]}. Running averages give the same at every batch size.",
        alternative=(
            f"Test accuracy against batch size: running averages {values['running']:.1f} %; batch statistics"
            f" {values['one']:.1f} % at batch size 1, {values['usual']:.1f} % in large batches and"
            f" {values['by_class']:.1f} % in small batches sorted by class."
        ),
    )


def _draw_shift(evidence: TestTimeAccuracies, values: Values, theme: Theme) -> LessonFigure:
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    grid = figure.add_gridspec(2, len(SHIFTS), height_ratios=(1, 2.6))
    for column, (shift, picture) in enumerate(zip(SHIFTS, evidence.pictures, strict=True)):
        small = figure.add_subplot(grid[0, column])
        small.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=1)
        small.set_title(f"s = {shift:g}")
        small.set_axis_off()
    axes = figure.add_subplot(grid[1, :])
    plot_band(axes, SHIFTS, evidence.shift_running, theme.baseline, "running averages", marker="o")
    plot_band(
        axes, SHIFTS, evidence.shift_batch, theme.colours[0], "batch statistics", dashes=(5, 2), marker="s"
    )
    axes.set_xticks(SHIFTS)
    axes.set(xlabel="shift s: flatter and brighter", ylabel="test accuracy (%)", ylim=(0, 102))
    axes.legend(loc="lower left", frameon=False, handlelength=3.2)
    return LessonFigure(
        name="shift",
        figure=figure,
        caption=f"Top: a test image under the shift. Bottom: test accuracy; {BAND}.",
        alternative=(
            "A test image at five shifts, and test accuracy against the shift: at full shift"
            f" {values['shift_running']:.1f} % with running averages and {values['shift_batch']:.1f} % with batch"
            " statistics."
        ),
    )


def _draw_forgotten(evidence: TestTimeAccuracies, values: Values, theme: Theme) -> LessonFigure:
    figure = Figure(figsize=(10, 4.6))
    figure.set_layout_engine("constrained", w_pad=0.12)
    left, right = figure.subplots(1, 2)
    _draw_companies(left, evidence, theme)
    steps = np.arange(evidence.polluted.shape[1])
    plot_band(right, steps, evidence.polluted, theme.colours[1], "in inference mode afterwards")
    left.grid(axis="x", visible=False)
    right.set(
        title="What the forgotten eval() leaves behind",
        xlabel=f"shifted batches of {POLLUTING} seen in training mode",
        ylabel="accuracy on the original images (%)",
        ylim=(0, 102),
    )
    return LessonFigure(
        name="eval-forgotten",
        figure=figure,
        caption=(
            f"Left: the images of the first {len(evidence.alone)} whose probability varies most; a dot is the image in"
            f" one batch of {POLLUTING}, a bar the same image with running averages. Right: no weight is changed, only"
            f" the running averages; {BAND}."
        ),
        alternative=(
            f"Left: probabilities of the true class of twelve images in {COMPANIES} different batches, spread by up to"
            f" {values['spread']:.2f}. Right: accuracy goes from {values['running']:.1f} to {values['polluted']:.1f} %"
            " as shifted batches pass in training mode."
        ),
    )


def _draw_companies(axes: Axes, evidence: TestTimeAccuracies, theme: Theme) -> None:
    ranges = evidence.companies.max(1) - evidence.companies.min(1)
    chosen = np.sort(np.argsort(-ranges, kind="stable")[:12])
    for place, image in enumerate(chosen):
        dots = evidence.companies[image]
        label = "in different batches" if place == 0 else None
        axes.plot(
            np.full(len(dots), place),
            dots,
            "o",
            color=theme.colours[0],
            alpha=0.55,
            markersize=5,
            label=label,
        )
    axes.hlines(
        evidence.alone[chosen],
        np.arange(len(chosen)) - 0.4,
        np.arange(len(chosen)) + 0.4,
        color=theme.ink,
        linewidth=2.2,
        label="with running averages",
    )
    axes.set_xticks(range(len(chosen)), [str(image) for image in chosen])
    axes.set(
        title="One image, different neighbours",
        xlabel="test image",
        ylabel="probability of its true class",
        ylim=(-0.03, 1.2),
        yticks=(0, 0.25, 0.5, 0.75, 1),
    )
    axes.legend(
        loc="upper center", ncols=2, frameon=False, handlelength=1.2, columnspacing=1.2, borderaxespad=0
    )
