"""Text in CSV files that spreadsheets open: never a formula, and read back as it was."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

_FORMULAS = tuple(
    "=+-@\t\r\n＝＋－＠"
)  # what some spreadsheet takes for the beginning of a formula, wide signs too


def guarded(text: str) -> str:
    """``text`` with an apostrophe before what a spreadsheet would compute: ``=1+1`` as ``'=1+1``, which stays a text.

    A text that is guarded already gets another one, so that `unguarded` always gives back what was written.
    """
    return f"'{text}" if text.lstrip("'").startswith(_FORMULAS) else text


def unguarded(cell: str) -> str:
    """The text that `guarded` made the cell from; any other cell as it is."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULAS) else cell


def csv_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A table as UTF-8 with a line of headings; texts are `guarded`, and numbers are read back as the same."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(guarded(cell) if isinstance(cell, str) else cell for cell in row)
    return text.getvalue().encode()
