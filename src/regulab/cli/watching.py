"""Stands between a study and those who watch it, so that neither side can harm the other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from regulab.process import signals
from regulab.progress import Beginning, Outcome, Progress, Silent, reading_of

if TYPE_CHECKING:
    from regulab.records import EpochRecord


class GuardedProgress:
    """Passes on what a study reports. An error while showing it does not end the study: after the first one nothing
    more is shown.

    Also stops a study that a signal asked to stop if something swallowed the exception; ``advice`` is shown to a person
    who stops it after training has begun.
    """

    def __init__(self, shown: Progress, advice: str) -> None:
        self._shown, self._advice = shown, advice

    def started(self, beginning: Beginning) -> None:
        signals.advise(self._advice)
        self._show(lambda: self._shown.started(beginning))

    def epoch(self, records: Sequence[EpochRecord]) -> None:
        self._show(lambda: self._shown.epoch(records))
        signals.check()

    def message(self, text: str) -> None:
        self._show(lambda: self._shown.message(text))

    def finished(self, outcome: Outcome | BaseException) -> None:
        self._show(lambda: self._shown.finished(outcome))

    @contextmanager
    def reading(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        listener, shown = self._shown, reading_of(self._shown)
        if shown is None:
            yield lambda _count: None
            return
        with shown(what, total) as advance:

            def each(count: int) -> None:
                if self._shown is listener:
                    self._show(lambda: advance(count))
                signals.check()

            yield each

    def _show(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except Exception as error:
            self._shown = Silent()
            print(f"progress is shown no more: {type(error).__name__}: {error}", file=sys.stderr)
