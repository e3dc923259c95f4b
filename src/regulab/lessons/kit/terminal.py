"""A lesson in the terminal: its takeaway, figures, numbers and tables, and each claim with its answer."""

from __future__ import annotations

import re

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from regulab.lessons.kit import lesson as content
from regulab.lessons.kit.lesson import Answer
from regulab.lessons.kit.result import LessonResult

STYLES = {Answer.HOLDS: "green", Answer.IN_PART: "cyan", Answer.NOT_HERE: "red", Answer.NOT_SHOWN: "yellow"}


def print_lesson(result: LessonResult, console: Console) -> None:
    """What a lesson came to: begins with what to remember, ends with how many claims hold."""
    console.print(Text(result.lesson.title, style="bold"))
    console.print(Text(_without_marks(result.lesson.takeaway)))
    for figure in result.figures:
        console.print(Text(f"figure: {figure.files['light']}"), soft_wrap=True)
    console.print()
    labels = {key: _without_marks(number.label) for key, number in result.measured.numbers.items()}
    width = max(map(len, labels.values()), default=0)
    for key, number in result.measured.numbers.items():
        console.print(Text(f"{labels[key]:{width}}  {number.text()}"))
    for table in result.measured.tables:
        console.print(_rich_table(table))
    console.print(Text(_without_marks(result.measured.findings)))
    console.print(Text(_without_marks(result.measured.conditions)))
    console.print()
    for claim, answer in result.claims:
        console.print(Text(f"claim: {_without_marks(claim.statement)}"))
        console.print(Text.assemble("  ", (answer, STYLES[answer]), f" ({_without_marks(claim.rule)})"))
    console.print(Text.assemble("answer: ", (result.tally, "bold")))


def _rich_table(table: content.Table) -> Table:
    rich_table = Table(
        title=_without_marks(table.title), box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left"
    )
    for index, column in enumerate(table.columns):
        rich_table.add_column(_without_marks(column), justify="right" if index else "left")
    for row in table.rows:
        rich_table.add_row(*(Text(_without_marks(cell)) for cell in row))
    return rich_table


def _without_marks(text: str) -> str:
    """Markdown without the marks of emphasis, code and equations."""
    return re.sub(r"\*\*|`|\$", "", text)
