"""From a run directory to a launcher and back: makes jobs from checkpoints, and records from events. Nothing else
writes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from regulab.evaluation.recording import record
from regulab.evaluation.teachers import generation, teachers_of, without_teacher
from regulab.launchers import Launcher
from regulab.launchers.events import Event, Finished
from regulab.progress import Progress
from regulab.run_directory.writing import RunDirectory
from regulab.training.loop import Begun, EpochDone, Job
from regulab.training.planning import FleetPlan, machine_of
from regulab.training.saved import Checkpoint
from regulab.training.setup import Setup


def launch(
    launcher: Launcher,
    setup: Setup,
    fleets: Sequence[FleetPlan],
    store: RunDirectory,
    progress: Progress,
) -> None:
    """Trains and tests ``fleets``, and records what the launcher reports as it happens.

    A fleet that was begun comes first: its checkpoint knows how long the history was, and nothing may be appended
    before it goes on. Then teachers: the fleets of those that learn from them are launched once they are recorded,
    whoever launches.
    """
    turns: dict[int, list[FleetPlan]] = {}
    for fleet in fleets:
        turn = -1 if store.has_checkpoint(fleet.index) else generation(fleet, setup)
        turns.setdefault(turn, []).append(fleet)
    for _, together in sorted(turns.items()):
        for text in without_teacher(together, setup, store):
            progress.message(text)
        launch_together(launcher, setup, together, store, progress)


def launch_together(
    launcher: Launcher,
    setup: Setup,
    fleets: Sequence[FleetPlan],
    store: RunDirectory,
    progress: Progress,
) -> None:
    """The same of fleets that wait for none of each other."""
    waiting = list(fleets)
    jobs = (job_of(fleet, setup, store) for fleet in fleets)
    with closing(launcher.launch(jobs)) as events:
        for event in events:
            fleet = waiting[0]
            assert event.fleet == fleet.index, (
                f"launcher {launcher.name}: fleets come in the order of the jobs"
            )
            write(event, fleet, store)
            if isinstance(event, EpochDone):
                progress.epoch(event.records)
            if isinstance(event, Finished):
                waiting.pop(0)
    assert not waiting, f"launcher {launcher.name} left out fleets"


def job_of(fleet: FleetPlan, setup: Setup, store: RunDirectory) -> Job:
    """A fleet as it is to be trained, from its checkpoint where it has one."""
    saved, machine = store.load_checkpoint(fleet.index), machine_of(fleet, setup.machine)
    checkpoint = None if saved is None else Checkpoint(*saved)
    where, teachers = store.checkpoint_file(fleet.index), teachers_of(fleet, setup, store)
    return Job(fleet, replace(setup, machine=machine), checkpoint, where, teachers)


def write(event: Event, fleet: FleetPlan, store: RunDirectory) -> None:
    """Writes the history first, then the checkpoint that knows its length: if stopped in between, the history is later
    cut to that length."""
    match event:
        case Begun(checkpoint=Checkpoint() as first):
            store.forget_history(fleet.runs)
            store.save_checkpoint(fleet.index, first.arrays, first.state)
        case Begun():
            store.truncate_history(event.history_length)
        case EpochDone(checkpoint=checkpoint):
            store.append_history(event.records)
            store.save_checkpoint(fleet.index, checkpoint.arrays, checkpoint.state)
        case Finished():
            record(store, fleet, event.tested, event.images)
