"""The launcher for one machine."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import final

from regulab.launchers.events import Event, carried_out
from regulab.launchers.launcher import Launcher
from regulab.training.loop import Job


@final
class Local(Launcher):
    """One fleet after another in this process: a fleet's stacked step alone keeps all cores of a machine busy."""

    name = "local"
    summary = "one fleet after another in this process"

    def launch(self, jobs: Iterable[Job]) -> Generator[Event, None, None]:
        for job in jobs:
            yield from carried_out(job)
