"""Decides what of a study is done and how the rest goes on, before anything trains; refuses where numbers would
change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from regulab.progress import Progress
from regulab.run_directory.versions import naming_the_writer
from regulab.run_directory.writing import RunDirectory
from regulab.training.conditions import refuse_other_conditions, settled
from regulab.training.machine import Machine
from regulab.training.planning import FleetPlan, machine_of, plan_fleets
from regulab.training.setup import Setup


@dataclass(frozen=True)
class Work:
    """All fleets of a study, and those that still have to train."""

    fleets: Sequence[FleetPlan]
    pending: Sequence[FleetPlan]


def work(store: RunDirectory, setup: Setup, progress: Progress) -> Work:
    """The fleets as they were planned, and new ones for runs that are in none of them.

    A run is done with its row, and if it completed with its predictions and weights. Where those are missing its fleet
    trains again, under the very conditions under which it did. Raises `UserError` where it cannot, and where a fleet
    that was begun cannot go on as it began.
    """
    known = known_fleets(store, setup.machine.precision)
    done = _done(store, known, setup.machine, progress)
    fleets = plan_fleets(setup, store.study.seeds, known)
    pending = [fleet for fleet in fleets if not done.issuperset(fleet.runs)]
    for fleet in fleets:
        if fleet not in pending:
            store.delete_checkpoint(fleet.index)  # stopped between its results and this
    for fleet in pending:
        if store.has_checkpoint(fleet.index) and _waits(fleet, setup, done):
            store.delete_checkpoint(fleet.index)
            progress.message(f"fleet {fleet.index} starts over: a teacher of its runs trains again")
    ready = {fleet.index: _ready(store, fleet, setup.machine, progress) for fleet in pending}
    return Work([ready.get(fleet.index, fleet) for fleet in fleets], list(ready.values()))


def _waits(fleet: FleetPlan, setup: Setup, done: set[tuple[str, int]]) -> bool:
    """Whether a fleet was begun with teachers that are not done any more."""
    teachers = (setup.teacher(setup.run(*run)) for run in fleet.runs)
    return any(teacher is not None and (teacher.arm, teacher.seed) not in done for teacher in teachers)


def known_fleets(store: RunDirectory, precision: str) -> list[FleetPlan]:
    """The fleets that were planned, and one more for results whose plan is gone, so that they do not train again.
    ``precision`` goes into that one's plan and means nothing: it never trains.
    """
    where = str(store.path / "fleets.json")
    entries = store.read_fleets()
    with naming_the_writer(store.path):
        known = [FleetPlan.of_json(entry, f"{where}: {number}") for number, entry in enumerate(entries)]
    held = {run for fleet in known for run in fleet.runs}
    lost = [(row.arm, row.seed) for row in store.read_results() if (row.arm, row.seed) not in held]
    if lost:
        known.append(FleetPlan(len(known), tuple(lost), "fleet", "", precision, 1))
    return known


def _done(
    store: RunDirectory, known: Sequence[FleetPlan], machine: Machine, progress: Progress
) -> set[tuple[str, int]]:
    results = store.read_results()
    missing = store.missing_files(results)
    again = [fleet for fleet in known if not missing.keys().isdisjoint(fleet.runs)]
    for fleet in again:
        first = next(missing[run] for run in fleet.runs if run in missing)
        refuse_other_conditions(fleet, machine_of(fleet, machine), first)
        progress.message(f"fleet {fleet.index} trains again: {first} is missing")
    gone = {run for fleet in again for run in fleet.runs}
    if gone:
        store.write_results(result for result in results if (result.arm, result.seed) not in gone)
    return {(result.arm, result.seed) for result in results} - gone


def _ready(store: RunDirectory, fleet: FleetPlan, machine: Machine, progress: Progress) -> FleetPlan:
    saved = store.load_checkpoint(fleet.index)
    begun = saved is not None and saved[1].get("epoch") != 0
    place = store.checkpoint_file(fleet.index)
    fleet, message = settled(fleet, machine_of(fleet, machine), begun=begun, checkpoint=place)
    if message:
        progress.message(message)
    if saved is not None and not begun:
        store.delete_checkpoint(fleet.index)  # of before the first epoch: it knows another plan
    return fleet


def epochs_done(store: RunDirectory, fleet: FleetPlan) -> int:
    """How many epochs of a fleet have been trained, according to its checkpoint."""
    saved = store.load_checkpoint(fleet.index)
    epoch = 0 if saved is None else saved[1].get("epoch")
    return epoch if isinstance(epoch, int) else 0  # `read_state` refuses it later
