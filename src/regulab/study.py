"""The main path: a study from its file to its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from regulab import techniques, until_decided
from regulab.config import Study
from regulab.config.paths import PATHS_FROM, start_of_paths
from regulab.data import load
from regulab.data.splits import Splits
from regulab.evaluation.recording import record
from regulab.evaluation.testing import test
from regulab.preparation import complete, findings, prepare, refuse_changes
from regulab.progress import Outcome, Progress, Silent
from regulab.records import DIVERGED
from regulab.reporting import write_report
from regulab.resuming import work
from regulab.run_directory.writing import RunDirectory, read_records
from regulab.training.batches import ImageTensors
from regulab.training.conditions import condition_remarks, with_earlier
from regulab.training.environment import describe
from regulab.training.loop import FleetTraining, announce
from regulab.training.machine import Machine, choose_machine, threads
from regulab.training.notes import notes
from regulab.training.planning import FleetPlan, remarks, runs_of, runs_per_fleet
from regulab.training.setup import Setup


def run(
    study: Study,
    directory: Path,
    *,
    data_root: Path,
    device: str = "auto",
    fresh: bool = False,
    max_seeds: int | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Trains what is missing, tests it once, and writes the report.

    Given again, it goes on where it stopped; with more seeds it extends the study; finished, it trains
    nothing. With ``max_seeds`` it adds seeds until every arm is decided or there are so many.
    Raises `UserError` before anything is trained where study, data or directory are wrong.
    """
    progress = progress or Silent()
    arms = techniques.arms_of(study)
    if max_seeds is not None:
        until_decided.check_limit(study, max_seeds)
    splits = load(study.data, study.protocol, data_root)
    for note in splits.notes:
        progress.message(note)
    setup = prepare(study, splits, device)
    found = findings(study, splits, setup)
    if (start := start_of_paths((study.data.name, study.model.name), directory)) is not None:
        found[PATHS_FROM] = start
    if not fresh:
        refuse_changes(directory, study, found, splits)  # before anything is written there
    with RunDirectory.open(directory, study.model_copy(update={"resolved": found}), fresh=fresh) as store:
        refuse_changes(directory, study, found, splits)  # what another process may have begun since
        complete(store, found)
        trained, batch = 0, max(1, runs_per_fleet(setup, setup.examples()[0], len(arms)) // len(arms))
        try:
            for _ in until_decided.rounds(store, max_seeds, batch, progress):
                trained += train_missing(store, setup, arms, splits, device, progress)
            write_report(read_records(directory), directory)
        except BaseException as error:
            progress.finished(error)
            raise
        results = store.read_results()
        diverged = [(result.arm, result.seed) for result in results if result.status == DIVERGED]
        outcome = Outcome(directory, directory / "report.html", diverged, trained)
        progress.finished(outcome)
    return outcome


def train_missing(
    store: RunDirectory,
    setup: Setup,
    arms: Mapping[str, tuple[techniques.Technique, ...]],
    splits: Splits,
    device: str,
    progress: Progress,
) -> int:
    """Trains and tests the fleets of the study that have no results yet; how many runs they held."""

    def machine_of(fleet: FleetPlan) -> Machine:
        return choose_machine(device, fleet.precision, fleet.kernels, fleet.on_device)

    todo = work(store, setup, arms, machine_of, progress)
    if todo.pending:
        store.write_fleets([fleet.to_json() for fleet in todo.fleets])
        told = [*remarks(todo.fleets), *notes(setup), *condition_remarks(todo.fleets)]
        environment = describe(setup.machine, splits, told)
        store.write_environment(with_earlier(environment, store.read_environment()))
        for note in setup.machine.notes:
            progress.message(note)
        announce(progress, setup.study, todo.fleets, todo.pending, store)
        for note in notes(setup):
            progress.message(note)
    for fleet in todo.pending:
        active = replace(setup, machine=machine_of(fleet))
        validation = ImageTensors.of(splits.validation, active.machine.device)
        with threads(fleet.threads):
            trained = FleetTraining(fleet, active, runs_of(fleet, arms), validation, store).train(progress)
            images = splits.open_test()
            record(store, fleet, test(trained, fleet.engine, active, images), images)
    return sum(len(fleet.runs) for fleet in todo.pending)
