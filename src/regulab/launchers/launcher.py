"""What every launcher gets, and what it must return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from typing import ClassVar

from regulab.launchers.events import Event
from regulab.training.loop import Job


class Launcher(ABC):
    """Has fleets trained and tested. It writes nothing; whoever takes its events does.

    A launcher is one file in this folder with one final subclass. It has `regulab.launchers.events.carried_out` run for
    each job, in this process or in another, and passes on what comes: the events of the jobs in the order of the jobs,
    all of one fleet before the next one's first. One that trains several fleets at a time keeps those of the later
    ones back. A study has the same records whoever launches it; the contract tests run every launcher.

    ``jobs`` reads a fleet's checkpoint when the job is asked for. Closed in the middle (`Generator.close`), a launcher
    ends what it began. What it raises ends the study, which goes on from the last events when it is given again.
    """

    name: ClassVar[str]
    summary: ClassVar[str]  # one line

    @abstractmethod
    def launch(self, jobs: Iterable[Job]) -> Generator[Event, None, None]: ...
