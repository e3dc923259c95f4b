"""Small plots and images in characters: of braille and blocks, or of ASCII where an output cannot write those."""

from __future__ import annotations

import math
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

WIDEST, NARROWEST = 100, 30  # columns
FAR_APART = 3  # every so many dots of a reference are drawn
BRAILLE = 0x2800
# The bits of a character of braille, by row and column of its dots.
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
Numbers = Sequence[float] | NDArray[np.float64]
Block = list[str]  # lines


@dataclass(frozen=True)
class Polyline:
    """Points to be joined, in their order; a ``reference`` is drawn thinly."""

    x: Numbers
    y: Numbers
    reference: bool = False


@dataclass(frozen=True)
class Paper:
    """What can be drawn on: ``width`` columns, with characters beyond ASCII or without."""

    width: int = 80
    unicode: bool = True

    @property
    def shades(self) -> str:
        """From nothing to full."""
        return " ░▒▓█" if self.unicode else " :+%#"

    @property
    def nothing(self) -> str:
        """In the place of a pixel that is not there."""
        return "··" if self.unicode else ".."


def of_terminal() -> Paper:
    """The paper that standard output is: as wide as the terminal, or as COLUMNS says."""
    width = shutil.get_terminal_size((WIDEST, 24)).columns
    try:
        "⣿█░┤".encode(sys.stdout.encoding or "ascii")
        unicode = True
    except (UnicodeEncodeError, LookupError):
        unicode = False
    return Paper(max(NARROWEST, min(WIDEST, width)), unicode)


def plot(paper: Paper, curves: Sequence[Polyline], title: str, x_label: str, columns: int = 30) -> Block:
    """Curves over one pair of axes, at most ``columns`` wide, with the ends of the axes in numbers."""
    x = np.concatenate([np.asarray(curve.x, float) for curve in curves])
    y = np.concatenate([np.asarray(curve.y, float) for curve in curves])
    left, right = float(np.nanmin(x)), float(np.nanmax(x))
    low, high = _limits(y)
    marks = {8: _number(low), 0: _number(high)}
    margin = max(map(len, marks.values()))
    rows, wide = 9, max(10, min(columns, paper.width - margin - 3))
    grid = _Grid(rows, wide, paper.unicode)
    for curve in curves:
        across = (np.asarray(curve.x, float) - left) / ((right - left) or 1)
        grid.draw(across, (np.asarray(curve.y, float) - low) / (high - low), curve.reference)
    bar, corner, line = ("┤", "└", "─") if paper.unicode else ("|", "+", "-")
    body = [f"{marks.get(row, ''):>{margin}} {bar}{text}" for row, text in enumerate(grid.lines())]
    first, last = _number(left), _number(right)
    room = wide - len(first) - len(last)
    under, below = (x_label, []) if len(x_label) <= room - 2 else ("", wrapped(paper, f"across: {x_label}"))
    ends = f"{first}{under:^{max(0, room)}}{last}"
    return [
        *wrapped(paper, title),
        *body,
        f"{'':{margin}} {corner}{line * wide}",
        f"{'':{margin + 2}}{ends}".rstrip(),
        *below,
    ]


class _Grid:
    """Dots: two by four in a character of braille, one in a character of ASCII."""

    def __init__(self, rows: int, columns: int, unicode: bool) -> None:
        self._unicode = unicode
        self._height, self._width = (4 * rows, 2 * columns) if unicode else (rows, columns)
        self._dots = np.zeros((self._height, self._width), int)  # 2 of a curve, 1 of a reference

    def draw(self, across: NDArray[np.float64], up: NDArray[np.float64], reference: bool) -> None:
        """Points from 0 to 1 each way, with lines between neighbours; what is no number leaves a gap."""
        right, down = across * (self._width - 1), (1 - up) * (self._height - 1)
        for k in range(len(right) - 1):
            ends = right[k : k + 2], down[k : k + 2]
            if not np.isfinite(ends).all():
                continue
            steps = int(max(abs(np.diff(ends[0])[0]), abs(np.diff(ends[1])[0]))) + 1
            columns, rows = (np.linspace(end[0], end[1], steps + 1).round().astype(int) for end in ends)
            for column, row in zip(columns, rows, strict=True):
                if not (0 <= row < self._height and 0 <= column < self._width):
                    continue
                if not reference:
                    self._dots[row, column] = 2
                elif column % FAR_APART == 0:
                    self._dots[row, column] = max(1, self._dots[row, column])

    def lines(self) -> Block:
        if not self._unicode:
            return ["".join(" .*"[dot] for dot in row).rstrip() for row in self._dots]
        return [
            "".join(self._character(row, column) for column in range(0, self._width, 2)).rstrip(chr(BRAILLE))
            for row in range(0, self._height, 4)
        ]

    def _character(self, row: int, column: int) -> str:
        bits = sum(
            DOTS[down][right]
            for down in range(4)
            for right in range(2)
            if self._dots[row + down, column + right]
        )
        return chr(BRAILLE + bits)


def wrapped(paper: Paper, words: str) -> Block:
    """Words in lines that fit."""
    return textwrap.wrap(words, paper.width)


def _limits(y: NDArray[np.float64]) -> tuple[float, float]:
    """Those of the finite numbers, apart even where all are one."""
    finite = y[np.isfinite(y)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    if math.isclose(low, high, abs_tol=1e-12):
        low, high = (min(0.0, 2 * low), max(0.0, 2 * high)) if low else (-1.0, 1.0)
    return low, high


def _number(value: float) -> str:
    return f"{value:.3g}".replace("e-0", "e-") if abs(value) > 1e-12 else "0"


def shaded(paper: Paper, image: NDArray[np.float64]) -> Block:
    """A grey image ``(H, W)``, 0 black and 1 white, two characters a pixel; NaN is where nothing is."""
    shades = paper.shades
    places = np.rint(np.nan_to_num(image).clip(0, 1) * (len(shades) - 1)).astype(int)
    return [
        "".join(paper.nothing if np.isnan(value) else shades[k] * 2 for value, k in zip(row, ks, strict=True))
        for row, ks in zip(image, places, strict=True)
    ]


def beside(paper: Paper, blocks: Sequence[Block], gap: int = 3) -> Block:
    """Blocks side by side, as many as the paper is wide; the others below."""
    lines: Block = []
    row: list[Block] = []

    def width(block: Block) -> int:
        return max((len(line) for line in block), default=0)

    def finish() -> None:
        widths = [width(block) for block in row]
        if lines and row:
            lines.append("")
        for parts in zip_longest(*row, fillvalue=""):
            lines.append(
                (" " * gap).join(f"{part:{w}}" for part, w in zip(parts, widths, strict=True)).rstrip()
            )
        row.clear()

    for block in blocks:
        if row and sum(map(width, row)) + gap * len(row) + width(block) > paper.width:
            finish()
        row.append(block)
    finish()
    return lines
