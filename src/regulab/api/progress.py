"""Progress in a notebook: a single output of the cell that updates in place. Elsewhere as on the command line."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from markupsafe import Markup

from regulab.errors import UserError
from regulab.progress import Beginning, Outcome, Progress, Silent
from regulab.records import EpochRecord
from regulab.terminal.consoles import duration, number_ranges
from regulab.terminal.progress_display import Standing
from regulab.terminal.progress_display import progress_for as terminal_progress
from regulab.wording import NAME_LIMIT, one_line, visible

INTERVAL = 0.25  # seconds between two renewals, at least: each is a message to the browser


def progress_for(chosen: Progress | str | None) -> Progress:
    """The progress that was chosen: ``auto`` updates in place in a notebook, shows bars on a terminal and lines
    elsewhere; None is silent."""
    if chosen is None:
        return Silent()
    if chosen == "auto":
        return NotebookProgress() if in_notebook() else terminal_progress(quiet=False)
    if isinstance(chosen, str) or not all(
        callable(getattr(chosen, told, None)) for told in ("started", "epoch", "message", "finished")
    ):
        raise UserError(
            "not a progress", got=chosen, expected="'auto', None or a regulab.Progress", where="progress"
        )
    return chosen


def in_notebook() -> bool:
    """Whether a kernel runs this: IPython on a terminal has none."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


class NotebookProgress:
    """A bar with the time left for the whole study, over a table with a row for each arm, as HTML and as plain text."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._arms: tuple[str, ...] = ()
        self._epochs = self._total = self._done = 0
        self._begun = clock()
        self._mark: tuple[float, int] | None = None  # a time and what was done by then, where the rate begins
        self._latest: dict[tuple[str, int], EpochRecord] = {}
        self._seeds: frozenset[int] = frozenset()  # of the fleet that advanced last
        self._messages: list[str] = []
        self._output: Any = None
        self._shown = -INTERVAL

    def started(self, beginning: Beginning) -> None:
        self._arms, self._epochs = beginning.arms, beginning.epochs
        self._total, self._done, self._mark = beginning.total, beginning.done, None
        self._show()

    def epoch(self, records: Sequence[EpochRecord]) -> None:
        self._done += len(records)
        if self._mark is None:  # most of a first epoch is compiling and warming up
            self._mark = (self._clock(), self._done)
        self._latest.update({(record.arm, record.seed): record for record in records})
        self._seeds = frozenset(record.seed for record in records)
        if self._clock() - self._shown >= INTERVAL:
            self._show()

    def message(self, text: str) -> None:
        self._messages.append(visible(text, isolates=True))
        self._show()

    def finished(self, outcome: Outcome | BaseException) -> None:
        self._mark = None  # nothing is left to wait for, also where runs stopped early
        if self._output is not None:
            self._show()

    def _show(self) -> None:
        self._shown = self._clock()
        content = {"text/plain": self._text(), "text/html": str(self._html())}
        if self._output is None:
            self._output = import_module("IPython.display").display(content, raw=True, display_id=True)
        else:
            self._output.update(content, raw=True)

    def _headline(self) -> str:
        now = self._clock()
        parts = [f"{self._done} of {self._total} epochs of runs", f"{duration(now - self._begun)} gone"]
        left = self._seconds_left(now)
        if left is not None:
            parts.append(f"{duration(left)} left")
        return ", ".join(parts)

    def _seconds_left(self, now: float) -> float | None:
        """Seconds left at the rate so far; None where there is none yet, and at the end."""
        if self._mark is None or self._done == self._mark[1] or self._done >= self._total:
            return None
        since, before = self._mark
        return (now - since) / (self._done - before) * (self._total - self._done)

    def _rows(self) -> list[tuple[str, str, str, str]]:
        """Of the same seeds in every row, so that rows may be compared: arm, seeds, epoch, validation accuracy."""
        shown = [record for (_, seed), record in self._latest.items() if seed in self._seeds]
        rows = []
        for arm in self._arms:
            one = Standing.of(arm, shown)
            rows.append(
                (
                    one_line(arm, NAME_LIMIT),
                    number_ranges(one.seeds) if one and one.seeds else "–",
                    f"{one.epoch if one else 0}/{self._epochs}",
                    "–" if one is None or one.accuracy is None else f"{one.accuracy:.2f} %",
                )
            )
        return rows

    def _text(self) -> str:
        rows = [f"{arm}: {seeds}, epoch {epoch}, {accuracy}" for arm, seeds, epoch, accuracy in self._rows()]
        return "\n".join([self._headline(), *(rows if self._total else []), *self._messages])

    def _html(self) -> Markup:
        said = Markup("").join(Markup("<div>{}</div>").format(message) for message in self._messages)
        if not self._total:
            return said
        heads = ("arm", "seeds", "epoch", "validation accuracy")
        head = Markup("").join(Markup("<th>{}</th>").format(one) for one in heads)
        body = Markup("").join(
            Markup("<tr>{}</tr>").format(Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row))
            for row in self._rows()
        )
        return Markup(
            "<div>{}</div><progress max='{}' value='{}' style='width: 100%'></progress>"
            "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>{}"
        ).format(self._headline(), self._total, self._done, head, body, said)
