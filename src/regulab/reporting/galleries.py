"""The picture of an arm's mistakes: five by five images with actual and predicted class names."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from regulab.records import StudyRecords
from regulab.reporting.figures import FAINT, INK, one_line, verbatim
from regulab.reporting.mistakes import Mistake, Selection, caption, percent, title

COLUMNS = 5
TILE = 1.0  # side of an image; a cell is wider and has three lines of text below
CELL_WIDTH, CELL_HEIGHT = 1.42, 1.62
NAME_LENGTH = 13  # characters of a class name that fit under an image
WRONG = "#A63A00"


def draw(records: StudyRecords, selection: Selection) -> Figure:
    """One figure, 25 places at most; with nothing to show, the title says so."""
    rows = -(-len(selection.chosen) // COLUMNS)
    height = 1.15 + 1.9 * max(rows, 0.4)
    figure = Figure(figsize=(8, height), facecolor="white")
    legend = one_line(records.legends.get(selection.arm, selection.arm), 64)
    verbatim(figure.text(0.5, 1 - 0.28 / height, legend, ha="center", va="center", fontsize=14, color=INK))
    figure.text(0.5, 1 - 0.58 / height, title(selection), ha="center", va="center", fontsize=12, color=INK)
    verbatim(
        figure.text(0.5, 1 - 0.85 / height, one_line(caption(selection), 110), ha="center", va="center",
                    fontsize=9.5, color=INK)
    )  # fmt: skip
    axes = figure.add_axes((0.01, 0.01, 0.98, 1 - 1.1 / height))
    axes.set_axis_off()
    axes.set_xlim(0, COLUMNS * CELL_WIDTH)
    axes.set_ylim(max(rows, 0.4) * CELL_HEIGHT, 0)
    for place, mistake in enumerate(selection.chosen):
        _tile(axes, mistake, place, records.class_names)
    return figure


def alternative(selection: Selection, names: tuple[str, ...]) -> str:
    """The gallery in words: its first five mistakes."""
    first = [
        f"{names[m.actual]} taken for {names[m.predicted]} with {percent(m.confidence)}"
        for m in selection.chosen[:COLUMNS]
    ]
    return f"Arm {selection.arm}: {title(selection)}" + (f", first: {'; '.join(first)}." if first else ".")


def _tile(axes: Axes, mistake: Mistake, place: int, names: tuple[str, ...]) -> None:
    left = place % COLUMNS * CELL_WIDTH + (CELL_WIDTH - TILE) / 2
    top = place // COLUMNS * CELL_HEIGHT
    extent = (left, left + TILE, top + TILE, top)
    axes.imshow(_rgb(mistake.image), extent=extent, interpolation="nearest", aspect="auto")
    frame = ([left, left + TILE, left + TILE, left, left], [top, top, top + TILE, top + TILE, top])
    axes.plot(*frame, color=FAINT, linewidth=0.8)
    lines = (
        (f"actual: {one_line(names[mistake.actual], NAME_LENGTH)}", INK, "normal"),
        (f"predicted: {one_line(names[mistake.predicted], NAME_LENGTH)}", WRONG, "bold"),
        (percent(mistake.confidence), INK, "normal"),
    )
    for line, (text, colour, weight) in enumerate(lines):
        y = top + TILE + 0.1 + 0.155 * line
        middle = left + TILE / 2
        verbatim(
            axes.text(middle, y, text, ha="center", va="center", fontsize=9, color=colour, weight=weight)
        )


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``(H, W, 1)`` or ``(H, W, 3)`` as ``(H, W, 3)``: grey values stay what they are, unstretched."""
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
