"""What a study tells while it runs, to whoever listens: a terminal, a notebook, nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # the command line has a progress before it has numpy
    from regulab.records import EpochRecord


class Progress(Protocol):
    """Told of a study's advance; one unit of work is one epoch of one run."""

    def started(self, total: int, done: int) -> None:
        """Training begins, or goes on with more seeds: ``total`` units in the study, ``done`` of them already."""

    def epoch(self, records: Sequence[EpochRecord]) -> None:
        """A fleet finished an epoch: one record for each run that trained."""

    def message(self, text: str) -> None:
        """Something a person should know: what is resumed, why the plain loop trains."""

    def finished(self) -> None:
        """Training ended, was interrupted or failed; told once, last."""


class Silent:
    """A `Progress` that tells nobody."""

    def started(self, total: int, done: int) -> None: ...

    def epoch(self, records: Sequence[EpochRecord]) -> None: ...

    def message(self, text: str) -> None: ...

    def finished(self) -> None: ...
