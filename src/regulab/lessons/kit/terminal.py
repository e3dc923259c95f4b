"""A lesson in the terminal: claims with their answers, numbers, tables."""

from __future__ import annotations

import re

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from regulab.lessons.kit.lesson import Answer
from regulab.lessons.kit.run_lesson import Told

STYLES = {Answer.HOLDS: "green", Answer.IN_PART: "cyan", Answer.NOT_HERE: "red", Answer.NOT_SHOWN: "yellow"}


def print_lesson(told: Told, console: Console) -> None:
    """What a lesson came to; ends with the answer to the whole."""
    console.print(Text(told.lesson.title, style="bold"))
    for claim, answer in told.claims:
        console.print(Text(f"claim: {_plain(claim.statement)}"))
        console.print(Text.assemble("  ", (answer, STYLES[answer]), f" ({_plain(claim.rule)})"))
    console.print()
    labels = {key: _plain(number.label) for key, number in told.measured.numbers.items()}
    width = max(map(len, labels.values()), default=0)
    for key, number in told.measured.numbers.items():
        console.print(Text(f"{labels[key]:{width}}  {number.text()}"))
    for content in told.measured.tables:
        table = Table(title=_plain(content.title), box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
        for index, column in enumerate(content.columns):
            table.add_column(_plain(column), justify="right" if index else "left")
        for row in content.rows:
            table.add_row(*(Text(_plain(cell)) for cell in row))
        console.print(table)
    console.print(Text(_plain(told.measured.findings)))
    console.print(Text(_plain(told.measured.conditions)))
    for shown in told.pictures:
        console.print(Text(f"figure: {shown.files['light']}"), soft_wrap=True)
    console.print(Text.assemble("answer: ", (told.answer, f"bold {STYLES[told.answer]}")))


def _plain(text: str) -> str:
    """Markdown without the marks of emphasis, code and equations."""
    return re.sub(r"\*\*|`|\$", "", text)
