"""The critical-difference diagram of arms over datasets, and the folder that ``compare --by dataset --out`` writes.

The form is Demšar's (2006): a line of average ranks, best on the left, every arm hung from it at its rank; above the
line the length of the critical difference, and below it a bar across each group of arms that lie within that length.
"""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from regulab.files import write_whole
from regulab.reporting.palette import COLOURS
from regulab.reporting.rendering import INK, render, verbatim, with_palette
from regulab.reporting.tables import metric_name, number
from regulab.statistics.datasets import ByDataset
from regulab.wording import one_line

DIAGRAM, PAGE, DATA = "critical-difference", "ranks.md", "ranks.json"
NAME_LIMIT = 40  # characters of an arm beside the diagram
STEP, BAR_STEP = 0.30, 0.16  # inches between names, and between bars
ABOVE, SIDE = 0.75, 2.3  # inches above the line and on either side


def draw(ranked: ByDataset) -> Figure:
    """The diagram of a ranking that has a critical difference."""
    difference, average = ranked.ranking.critical_difference, ranked.ranking.average
    assert difference is not None, "drawn where there is one"
    order = sorted(range(len(average)), key=lambda arm: average[arm])
    left = order[: (len(order) + 1) // 2]
    bars = BAR_STEP * (len(ranked.ranking.groups) + 1)
    height = ABOVE + bars + STEP * len(left) + 0.15
    figure = Figure(figsize=(8, height), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 8)
    axes.set_ylim(height - ABOVE, -ABOVE)  # inches, downwards from the line of ranks
    axes.axis("off")
    arms = len(average)

    def place(rank: float) -> float:
        return SIDE + (rank - 1) / (arms - 1) * (8 - 2 * SIDE)

    _scale(axes, arms, difference, place(2) - place(1))
    for row, group in enumerate(ranked.ranking.groups):
        ends = [place(average[arm]) for arm in (group[0], group[-1])]
        y = BAR_STEP * (row + 1)
        axes.plot(
            [ends[0] - 0.05, ends[1] + 0.05], [y, y], color=COLOURS[0], linewidth=4, solid_capstyle="butt"
        )
    for row, arm in enumerate(left):
        _hang(axes, ranked, arm, place(average[arm]), bars + STEP * row + 0.1, side=-1)
    for row, arm in enumerate(reversed(order[len(left) :])):
        _hang(axes, ranked, arm, place(average[arm]), bars + STEP * row + 0.1, side=1)
    return figure


def _scale(axes: Axes, arms: int, difference: float, unit: float) -> None:
    """The line with a tick at every whole rank, and the critical difference above its beginning."""
    axes.plot([SIDE, 8 - SIDE], [0, 0], color=INK, linewidth=1.4)
    for rank in range(1, arms + 1):
        x = SIDE + (rank - 1) * unit
        axes.plot([x, x], [0, -0.08], color=INK, linewidth=1.2)
        axes.text(x, -0.12, str(rank), ha="center", va="bottom", fontsize=10, color=INK)
    end, y = SIDE + difference * unit, -0.42
    axes.plot([SIDE, end], [y, y], color=INK, linewidth=1.4)
    for x in (SIDE, end):
        axes.plot([x, x], [y - 0.05, y + 0.05], color=INK, linewidth=1.4)
    text = f"critical difference {difference:.2f}"
    axes.text((SIDE + end) / 2, y - 0.06, text, ha="center", va="bottom", fontsize=10, color=INK)


def _hang(axes: Axes, ranked: ByDataset, arm: int, x: float, y: float, *, side: int) -> None:
    """An arm: down from its rank, then to its name on the left (−1) or on the right (+1)."""
    edge = SIDE - 0.15 if side < 0 else 8 - SIDE + 0.15
    axes.plot([x, x, edge], [0, y, y], color=INK, linewidth=1)
    name, rank = one_line(ranked.arms[arm], NAME_LIMIT), f"{ranked.ranking.average[arm]:.2f}"
    text = f"{name}  {rank}" if side < 0 else f"{rank}  {name}"
    align = "right" if side < 0 else "left"
    verbatim(axes.text(edge + 0.06 * side, y, text, ha=align, va="center", fontsize=10, color=INK))


def alternative(ranked: ByDataset) -> str:
    """The diagram in words."""
    average = ranked.ranking.average
    order = sorted(range(len(average)), key=lambda arm: average[arm])
    told = ", ".join(f"{one_line(ranked.arms[arm])} {average[arm]:.2f}" for arm in order)
    return f"Average ranks over {len(ranked.datasets)} datasets, best first: {told}"


def write_ranks(ranked: ByDataset, folder: Path) -> None:
    """``ranks.json`` and ``ranks.md``, and the diagram as PNG and SVG where there is a critical difference.

    Other files in the folder stay. Raises `UserError` where the folder cannot be written.
    """
    drawn = ranked.ranking.critical_difference is not None
    content = json.dumps(ranked.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
    write_whole(folder / DATA, f"{content}\n".encode())
    for kind in ("png", "svg") if drawn else ():
        picture = render(draw(ranked), kind)
        write_whole(folder / f"{DIAGRAM}.{kind}", with_palette(picture) if kind == "png" else picture)
    write_whole(folder / PAGE, markdown(ranked, drawn=drawn).encode())


def markdown(ranked: ByDataset, *, drawn: bool) -> str:
    """The table and the notes as a page."""
    places = 2 if ranked.metric.endswith("accuracy") else 4
    lines = [
        f"# Arms ranked over {len(ranked.datasets)} datasets",
        "",
        f"Mean {metric_name(ranked.metric)} over seeds, and in brackets the rank on that dataset.",
        "",
        "| dataset | seeds | " + " | ".join(map(_cell, ranked.arms)) + " |",
        "| --- | ---: |" + " ---: |" * len(ranked.arms),
    ]
    for one, ranks in zip(ranked.datasets, ranked.ranking.ranks, strict=True):
        cells = [f"{number(mean, places)} ({rank:g})" for mean, rank in zip(one.means, ranks, strict=True)]
        lines.append(f"| {_cell(one.name)} | {one.seeds} | {' | '.join(cells)} |")
    average = " | ".join(f"**{rank:.2f}**" for rank in ranked.ranking.average)
    lines += [f"| average rank | | {average} |", ""]
    if drawn:
        lines += [f"![{_cell(alternative(ranked))}]({DIAGRAM}.png)", ""]
    lines += [f"- {_cell(note[:1].upper() + note[1:])}." for note in ranked.notes]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """A name or a sentence that Markdown takes for neither markup nor a cell's end."""
    line = one_line(text, isolates=True)
    for mark in ("\\", "|", "[", "]", "<", "*", "`"):
        line = line.replace(mark, f"\\{mark}")
    return line
