"""One gallery for each arm: five by five of its mistakes, with actual and predicted class names."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from regulab.files import file_name
from regulab.reporting import figure as report
from regulab.reporting.data import ReportData
from regulab.reporting.mistakes import Mistake, Selection, caption, percent, title, words
from regulab.reporting.naming import PictureNames
from regulab.reporting.rendering import FAINT, INK, verbatim
from regulab.wording import named, one_line, quoted

COLUMNS = 5
WIDTH, HEADER, CELL = 8.0, 1.05, 1.58  # inches; the header has three lines
CELL_HEIGHT = 1.78
TILE = 1.16  # longer side of an image; three lines of text stand below it
NAME_LENGTH, LINE_LENGTH = 14, 18  # characters of a class name, and of a line before it shrinks
WRONG = "#A63A00"


def drawings(data: ReportData) -> Iterable[report.Drawing]:
    """One for each arm; an arm without mistakes gets a picture that says so."""
    for arm in data.arms:
        selection = data.selections[arm.name]
        yield report.Drawing(
            path=f"misclassified/{file_name(arm.name)}",
            kinds=("png",),
            title=arm.heading,
            words=words(selection),
            alternative=alternative(selection, data.class_names),
            draw=partial(draw, selection, data.picture_names),
        )


def draw(selection: Selection, names: PictureNames) -> Figure:
    """One figure, 25 places at most; with nothing to show, the title says so."""
    rows = -(-len(selection.chosen) // COLUMNS)
    height = HEADER + CELL_HEIGHT * rows + 0.05
    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    legend = one_line(f"arm {names.of_legend(selection.arm)}", 64)
    verbatim(figure.text(0.5, 1 - 0.28 / height, legend, ha="center", va="center", fontsize=14, color=INK))
    figure.text(0.5, 1 - 0.58 / height, title(selection), ha="center", va="center", fontsize=12, color=INK)
    verbatim(
        figure.text(0.5, 1 - 0.85 / height, one_line(caption(selection), 110), ha="center", va="center",
                    fontsize=9.5, color=INK)
    )  # fmt: skip
    axes = figure.add_axes((0, 0, 1, 1))  # in inches from the upper left corner of the first cell
    axes.set_axis_off()
    margin = (WIDTH - COLUMNS * CELL) / 2
    axes.set_xlim(-margin, WIDTH - margin)
    axes.set_ylim(height - HEADER, -HEADER)
    for place, mistake in enumerate(selection.chosen):
        _tile(axes, mistake, place, names)
    return figure


def alternative(selection: Selection, names: tuple[str, ...]) -> str:
    """The gallery in words: its first five mistakes."""
    first = [
        f"{quoted(names[m.actual])} taken for {quoted(names[m.predicted])} with {percent(m.confidence)}"
        for m in selection.chosen[:COLUMNS]
    ]
    return f"{_capital(named(selection.arm))}: {title(selection)}" + (
        f", first: {'; '.join(first)}." if first else "."
    )


def _tile(axes: Axes, mistake: Mistake, place: int, names: PictureNames) -> None:
    middle, top = (place % COLUMNS + 0.5) * CELL, place // COLUMNS * CELL_HEIGHT
    rows, columns = mistake.image.shape[:2]
    wide, high = TILE * columns / max(rows, columns), TILE * rows / max(rows, columns)
    left, right, upper, lower = middle - wide / 2, middle + wide / 2, top + TILE - high, top + TILE
    extent = (left, right, lower, upper)
    axes.imshow(_rgb(mistake.image), extent=extent, interpolation="nearest", aspect="auto")
    frame = ([left, right, right, left, left], [upper, upper, lower, lower, upper])
    axes.plot(*frame, color=FAINT, linewidth=0.8)
    lines = (
        (f"actual: {one_line(names.of_class(mistake.actual), NAME_LENGTH)}", INK),
        (f"predicted: {one_line(names.of_class(mistake.predicted), NAME_LENGTH)}", WRONG),
        (percent(mistake.confidence), INK),
    )
    for line, (text, colour) in enumerate(lines):
        y, size = lower + 0.12 + 0.165 * line, min(9.5, 9.5 * LINE_LENGTH / len(text))
        verbatim(axes.text(middle, y, text, ha="center", va="center", fontsize=size, color=colour))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``(H, W, 1)`` or ``(H, W, 3)`` as ``(H, W, 3)``: grey values stay what they are, unstretched."""
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


FIGURE = report.Figure(name="galleries", section="misclassified", order=10, drawings=drawings, placed=True)
