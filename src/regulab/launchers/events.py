"""What a launcher reports of a fleet, from its first epoch to its test."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from regulab.data.dataset import Images
from regulab.evaluation.testing import Tested, test
from regulab.training.loop import Begun, EpochDone, Job, Trained, train_fleet
from regulab.training.machine import process_settings
from regulab.training.no_room import room_needed


@dataclass(frozen=True)
class Finished:
    """A fleet was trained and tested: one entry for each of its runs. ``images`` is the test split that they saw."""

    fleet: int
    tested: Sequence[Tested]
    images: Images


Event = Begun | EpochDone | Finished


def carried_out(job: Job) -> Generator[Event, None, None]:
    """Trains a fleet in this process, then opens the test split and tests it.

    An event's tensors are the trainer's own and are valid until the next event is asked for: to keep one, copy it.
    """
    runs = len(job.plan.runs)
    needs = f"a fleet of {runs} run{'s' if runs > 1 else ''}"
    with process_settings(job.plan.threads), room_needed(job.setup.machine.device, needs):
        for event in train_fleet(job):
            if isinstance(event, Trained):
                images = job.setup.splits.open_test()
                yield Finished(event.fleet, test(event, job.plan.engine, job.setup, images), images)
            else:
                yield event
