"""The table of arms against the baseline: text when printed, HTML when a notebook shows it."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup
from rich.console import Console

from regulab.records import StudyRecords
from regulab.reporting.tables import Row, rows, verdict_columns
from regulab.results.answer_html import answer_html
from regulab.results.effects_html import effects_html
from regulab.statistics import Comparison, compare
from regulab.statistics.effects import Effect
from regulab.statistics.verdicts import Verdict
from regulab.terminal.comparison_table import (
    comparison_notes,
    headline,
    print_answer,
    print_comparison,
    print_warnings,
)
from regulab.terminal.consoles import PLAIN_WIDTH


class ComparisonTable:
    """Every arm against the baseline on one metric: what `regulab compare` prints, and the report's table in HTML.

    ``comparison`` holds the numbers unrounded: ``table.comparison.arms["l1"].difference``, in the unit of the metric.
    """

    def __init__(
        self, records: StudyRecords, *, baseline: str | None = None, metric: str | None = None
    ) -> None:
        self.comparison: Comparison = compare(records, baseline=baseline, metric=metric)
        self.rows: tuple[Row, ...] = tuple(rows(records, self.comparison))  # as the report prints them

    @property
    def verdicts(self) -> Mapping[str, Verdict | None]:
        """For each arm but the baseline ``better``, ``worse``, ``equivalent``, ``undecided`` or ``diverged``.

        None where there is no verdict: while runs are missing, and for a single seed.
        """
        arms = self.comparison.arms.items()
        return {name: arm.verdict for name, arm in arms if name != self.comparison.baseline}

    @property
    def interactions(self) -> tuple[Effect, ...]:
        """Where the arms are a full factorial, what two factors' levels do beyond the sum of each alone; else nothing.

        Of arms none, l1, l2 and l1+l2 it is one: d(l1+l2) − d(l1) − d(l2), with d the difference to none.
        """
        factorial = self.comparison.factorial
        return () if factorial is None else factorial.interactions

    @property
    def main_effects(self) -> tuple[Effect, ...]:
        """Where the arms are a full factorial, each factor's levels against its first."""
        factorial = self.comparison.factorial
        return () if factorial is None else factorial.main_effects

    def to_json(self) -> dict[str, Any]:
        """The mapping of ``regulab compare --json``; nothing but JSON's own types."""
        return self.comparison.to_json()

    def __str__(self) -> str:
        text = io.StringIO()
        width = None if sys.stdout.isatty() else PLAIN_WIDTH  # pipes get wide lines
        # In a kernel rich would print into the cell, whatever the file, and where FORCE_COLOR is set, in colours.
        plain = Console(file=text, width=width, highlight=False, force_jupyter=False, force_terminal=False)
        print_comparison(self.to_json(), plain)
        print_warnings(self.to_json(), plain)
        print_answer(self.to_json(), plain)
        return text.getvalue().rstrip("\n")

    __repr__ = __str__

    @property
    def answer(self) -> str:
        """What was asked and what was found, as one paragraph."""
        return self.comparison.answer

    def _repr_html_(self) -> str:
        return self.html()

    def html(self, picture: str = "") -> str:
        """Warnings, the answer, ``picture`` (markup; escaped where it is none), the table and the notes on it."""
        head = Markup("").join(
            Markup("<th>{}</th>").format(heading) for heading in verdict_columns(self.comparison)
        )
        body = Markup("").join(map(_html_row, self.rows))
        content = self.to_json()
        notes = Markup("").join(Markup("<p>{}</p>").format(note) for note in comparison_notes(content))
        first = Markup("").join(
            Markup("<p><b>First of all:</b> {}</p>").format(warning) for warning in self.comparison.warnings
        )
        said = answer_html(self.comparison)
        table = "{}{}{}<table><caption>{}</caption><thead><tr>{}</tr></thead><tbody>{}</tbody></table>{}"
        factors = effects_html(self.comparison)
        return str(Markup(table).format(first, said, picture, headline(content), head, body, notes) + factors)


def _html_row(row: Row) -> Markup:
    numbers = (str(row.seeds), row.mean, row.interval, row.difference, row.difference_interval, row.p)
    cells = Markup("").join(Markup("<td>{}</td>").format(cell) for cell in numbers)
    # <bdi>: a name that is written from right to left must not turn the numbers beside it around.
    return Markup("<tr><th><bdi>{}</bdi></th>{}<td><b>{}</b></td></tr>").format(
        row.legend, cells, row.verdict
    )
