"""The main path: a study from its file to its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from regulab import deciding, techniques
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
from regulab.store import RunDirectory, read_records
from regulab.training.batches import ImageTensors
from regulab.training.conditions import condition_remarks, with_earlier
from regulab.training.crew import Material
from regulab.training.environment import describe
from regulab.training.loop import Voyage, announce
from regulab.training.machine import Machine, choose_machine, threads
from regulab.training.notes import notes
from regulab.training.planning import FleetPlan, crew_runs, remarks, runs_per_fleet


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
        deciding.check_limit(study, max_seeds)
    splits = load(study.data, study.protocol, data_root)
    for note in splits.notes:
        progress.message(note)
    material = prepare(study, splits, device)
    found = findings(study, splits, material)
    if (start := start_of_paths((study.data.name, study.model.name), directory)) is not None:
        found[PATHS_FROM] = start
    if not fresh:
        refuse_changes(directory, study, found, splits)  # before anything is written there
    with RunDirectory.open(directory, study.model_copy(update={"resolved": found}), fresh=fresh) as store:
        refuse_changes(directory, study, found, splits)  # what another process may have begun since
        complete(store, found)
        trained, batch = 0, max(1, runs_per_fleet(material, material.examples()[0], len(arms)) // len(arms))
        try:
            for _ in deciding.rounds(store, max_seeds, batch, progress):
                trained += train_missing(store, material, arms, splits, device, progress)
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
    material: Material,
    arms: Mapping[str, tuple[techniques.Technique, ...]],
    splits: Splits,
    device: str,
    progress: Progress,
) -> int:
    """Trains and tests the fleets of the study that have no results yet; how many runs they held."""

    def machine_of(fleet: FleetPlan) -> Machine:
        return choose_machine(device, fleet.precision, fleet.kernels, fleet.resident)

    todo = work(store, material, arms, machine_of, progress)
    if todo.pending:
        store.write_fleets([fleet.to_json() for fleet in todo.fleets])
        told = [*remarks(todo.fleets), *notes(material), *condition_remarks(todo.fleets)]
        environment = describe(material.machine, splits, told)
        store.write_environment(with_earlier(environment, store.read_environment()))
        for note in material.machine.notes:
            progress.message(note)
        announce(progress, material.study, todo.fleets, todo.pending, store)
        for note in notes(material):
            progress.message(note)
    for fleet in todo.pending:
        aboard = replace(material, machine=machine_of(fleet))
        validation = ImageTensors.of(splits.validation, aboard.machine.device)
        with threads(fleet.threads):
            trained = Voyage(fleet, aboard, crew_runs(fleet, arms), validation, store).train(progress)
            images = splits.open_test()
            record(store, fleet, test(trained, fleet.engine, aboard, images), images)
    return sum(len(fleet.runs) for fleet in todo.pending)
