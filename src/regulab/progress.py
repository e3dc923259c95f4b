"""What a study reports while it runs, to whoever listens: a terminal, a notebook, an exporter, nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # the command line has a progress before it has numpy
    from regulab.records import EpochRecord


@dataclass(frozen=True)
class Beginning:
    """What is trained, and how far it has come; one unit of work is one epoch of one run."""

    study: str
    directory: Path
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    epochs: int
    total: int  # units in the study
    done: int  # of them already


@dataclass(frozen=True)
class Outcome:
    """What a study came to."""

    directory: Path
    report: Path
    diverged: list[tuple[str, int]]  # arm and seed
    trained: int  # runs that this command trained or finished


class Progress(Protocol):
    """Told about a study's progress. An exception raised by a listener ends the study, as an error of training
    would.

    A listener that also has ``reading(what, total)``, a context manager whose value is called with every number of
    files that were just read, is shown how far the reading of image files has come.
    """

    def started(self, beginning: Beginning) -> None:
        """Training begins, or goes on with more seeds. Not called where nothing is left to train."""

    def epoch(self, records: Sequence[EpochRecord]) -> None:
        """A fleet finished an epoch: one record for each run that trained."""

    def message(self, text: str) -> None:
        """Something a person should know: what is resumed, why the plain loop trains."""

    def finished(self, outcome: Outcome | BaseException) -> None:
        """Called once, last, with what the study came to, or what interrupted it or made it fail."""


class Silent:
    """A `Progress` that tells nobody."""

    def started(self, beginning: Beginning) -> None: ...

    def epoch(self, records: Sequence[EpochRecord]) -> None: ...

    def message(self, text: str) -> None: ...

    def finished(self, outcome: Outcome | BaseException) -> None: ...


Reading = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]


def reading_of(progress: Progress) -> Reading | None:
    """What shows the reading of image files, where a listener has that."""
    found: Reading | None = getattr(progress, "reading", None)
    return found


class Several:
    """A `Progress` that passes everything on to several listeners, in order. An exception of one does not keep the
    others from hearing; after all have heard, the first exception is raised, with the others as its notes. A
    `KeyboardInterrupt` is raised at once.
    """

    def __init__(self, *listeners: Progress) -> None:
        self._listeners = listeners

    def started(self, beginning: Beginning) -> None:
        self._call_each(lambda listener: listener.started(beginning))

    def epoch(self, records: Sequence[EpochRecord]) -> None:
        self._call_each(lambda listener: listener.epoch(records))

    def message(self, text: str) -> None:
        self._call_each(lambda listener: listener.message(text))

    def finished(self, outcome: Outcome | BaseException) -> None:
        self._call_each(lambda listener: listener.finished(outcome))

    @contextmanager
    def reading(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        with ExitStack() as stack:
            shown = [reading_of(listener) for listener in self._listeners]
            advances = [stack.enter_context(one(what, total)) for one in shown if one is not None]

            def advance(count: int) -> None:
                for each in advances:
                    each(count)

            yield advance

    def _call_each(self, call: Callable[[Progress], None]) -> None:
        raised: list[Exception] = []
        for listener in self._listeners:
            try:
                call(listener)
            except Exception as error:
                raised.append(error)
        if raised:
            for other in raised[1:]:
                raised[0].add_note(f"another listener: {type(other).__name__}: {other}")
            raise raised[0]
