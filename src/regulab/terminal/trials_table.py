"""Trials as a person reads them in a terminal: a table for each arm, the chosen one marked, and the budget."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from regulab.config.tuning import Tuned
from regulab.statistics.trials import (
    ON_VALIDATION,
    Trials,
    budget_words,
    edge_words,
    higher_is_better,
    trials_by_arm,
)
from regulab.wording import NAME_LIMIT, one_line


def print_trials(tuned: Tuned, console: Console) -> None:
    """Every trial of every arm, best mean first; then the budget, and what lies at an edge of its range."""
    content = tuned.model_dump(mode="json")
    found = trials_by_arm(content)
    for one in found.values():
        console.print(_table(one, tuned.metric))
    console.print(budget_words(content), markup=False, soft_wrap=not console.is_terminal)
    for warning in filter(None, map(edge_words, found.values())):
        text = Text.assemble(("edge: ", "bold yellow"), one_line(warning))
        console.print(text, soft_wrap=not console.is_terminal)


def _table(one: Trials, metric: str) -> Table:
    ranges = "; ".join(f"{key} {words}" for key, words in one.ranges.items())
    name = one_line(one.arm, NAME_LIMIT)
    table = Table(
        title=Text(f"{name}: {ranges or 'nothing to tune'}"), title_justify="left", box=box.SIMPLE_HEAD
    )
    for column in ("", "trial", *one.ranges, ON_VALIDATION.get(metric, metric)):
        table.add_column(Text(column), justify="right" if column else "left")
    worth = higher_is_better(one.means, metric)
    order = sorted(
        range(len(worth)), key=lambda trial: -worth[trial] if worth[trial] == worth[trial] else float("inf")
    )
    for trial in order:
        mean = one.means[trial]
        score = f"{mean:.3f}" if mean == mean else "diverged"
        values = (_shown(one.points[trial][key]) for key in one.ranges)
        mark = "→" if trial == one.chosen else ""
        table.add_row(mark, str(trial + 1), *values, score, style="bold" if mark else None)
    return table


def _shown(value: object) -> Text:
    return Text(f"{value:g}" if isinstance(value, float) else str(value))
