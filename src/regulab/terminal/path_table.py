"""A path as a person reads it in a terminal: the answer, a row for each strength, what to keep in mind."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from regulab.records import StudyRecords
from regulab.reporting.path.page import columns, lines
from regulab.reporting.path.words import path_words
from regulab.statistics.path_results import PathResults

LAST_TO_GO = ("validation accuracy (%)", "exact zeros (%)")  # where a narrow terminal has no room for all


def print_path(records: StudyRecords, results: PathResults, folder: str, console: Console) -> None:
    """The table, then the answer and its cautions, where a terminal's reader looks first: last."""
    headings, rows = columns(results), lines(results)
    kept = list(range(len(headings)))
    table = _table(headings, [(row.arm, *row.cells) for row in rows], kept)
    unlimited = console.options.update(max_width=10_000)
    if Measurement.get(console, unlimited, table).minimum > console.width:
        kept = [0, *(place for place in kept[1:] if headings[place] in LAST_TO_GO)]
        table = _table(headings, [(row.arm, *row.cells) for row in rows], kept)
    console.print(table)
    words = path_words(records, results, folder)
    for text in (" ".join(words.answer), *words.cautions):
        console.print(text, markup=False, soft_wrap=not console.is_terminal)
    if words.command:
        console.print(f"to put it to the test: {words.command}", markup=False, soft_wrap=True)


def _table(headings: list[str], rows: list[tuple[str, ...]], kept: list[int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place in kept:
        table.add_column(Text(headings[place]), justify="right" if place else "left")
    for row in rows:
        table.add_row(*(Text(row[place]) for place in kept))
    return table
