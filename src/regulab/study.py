"""The main path: a study from its file to its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from regulab import identity, keeping, until_decided
from regulab.config import Study
from regulab.config.paths import PATHS_FROM, start_of_paths
from regulab.data.reading_shown import reading_shown
from regulab.launchers import Launcher, launcher_of
from regulab.launching import launch
from regulab.progress import Beginning, Outcome, Progress, Silent, reading_of
from regulab.records import DIVERGED
from regulab.reporting import write_report
from regulab.resuming import Work, epochs_done, work
from regulab.run_directory.enlarging import begun_with
from regulab.run_directory.writing import RunDirectory, read_records
from regulab.training.conditions import condition_remarks, with_earlier
from regulab.training.environment import describe
from regulab.training.machine import process_settings
from regulab.training.notes import notes
from regulab.training.planning import remarks, seeds_per_fleet
from regulab.training.setup import Setup, set_up
from regulab.tuning.choosing import tuned_study
from regulab.tuning.places import recorded, trials_directory
from regulab.tuning.trials import announced, trials_of


def run(
    study: Study,
    directory: Path,
    *,
    data_root: Path,
    device: str = "auto",
    fresh: bool = False,
    max_seeds: int | None = None,
    progress: Progress | None = None,
    launcher: str = "local",
    facts: Mapping[str, Any] | None = None,
) -> Outcome:
    """Trains what is missing, tests it once, and writes the report.

    Given again, it goes on where it stopped; with more seeds or arms it extends the study; finished, it trains
    nothing. With ``max_seeds`` it adds seeds until every arm is decided or there are so many. ``launcher`` says who
    trains the fleets, and changes no record; ``facts`` join what the resolved study file keeps. Raises `UserError`
    before anything is trained where study, data or directory are wrong.
    """
    progress, launched_by = progress or Silent(), launcher_of(launcher)
    if max_seeds is not None:
        until_decided.check_limit(study, max_seeds)
    if study.tune is not None:
        known = None if fresh else recorded(study, directory)
        train = partial(tune, data_root=data_root, device=device, fresh=fresh, progress=progress)
        study = known or train(study, trials_directory(directory), launcher=launcher)
    with process_settings():
        with reading_shown(reading_of(progress), progress.message):
            setup = set_up(study, data_root, device)
        for note in setup.splits.notes:
            progress.message(note)
        with begun(setup, directory, fresh=fresh, facts=facts) as store:
            trained, batch = 0, 1 if max_seeds is None else seeds_per_fleet(setup)
            try:
                for _ in until_decided.rounds(store, max_seeds, batch, progress):
                    trained += train_missing(store, setup, launched_by, progress)
                write_report(read_records(directory), directory)
            except BaseException as error:
                progress.finished(error)
                raise
            diverged = [(one.arm, one.seed) for one in store.read_results() if one.status == DIVERGED]
            outcome = Outcome(directory, directory / "report.html", diverged, trained)
            progress.finished(outcome)
    return outcome


def tune(
    study: Study,
    directory: Path,
    *,
    data_root: Path,
    device: str = "auto",
    fresh: bool = False,
    progress: Progress | None = None,
    launcher: str = "local",
) -> Study:
    """The study with each arm at the point that its trials chose; they train in a run directory of their own.

    Goes on where it stopped, as `run` does. The test split stays closed. Raises `UserError` before anything is trained
    where a range is wrong, and afterwards where every trial of some arm diverged.
    """
    progress, launched_by, trials = progress or Silent(), launcher_of(launcher), trials_of(study)
    with process_settings():
        with reading_shown(reading_of(progress), progress.message):
            setup = set_up(trials, data_root, device)
        for note in (*setup.splits.notes, *announced(study)):
            progress.message(note)
        with begun(setup, directory, fresh=fresh) as store:
            try:
                train_missing(store, setup, launched_by, progress)
                return tuned_study(study, read_records(directory))
            except BaseException as error:
                progress.finished(error)
                raise


def begun(
    setup: Setup, directory: Path, *, fresh: bool, facts: Mapping[str, Any] | None = None
) -> RunDirectory:
    """The run directory of a study, made or gone on with; refused where the study is not the one that began it."""
    study, found = setup.study, {**identity.findings(setup), **(facts or {})}
    weights = study.model.weights.file if study.model.weights else ""
    if (start := start_of_paths(study.data.name, study.model.name, directory, weights)) is not None:
        found[PATHS_FROM] = start
    if not fresh:
        identity.refuse_changes(directory, setup, found)  # before anything is written there
    files = keeping.to_keep(study, directory, fresh=fresh)
    recorded = keeping.as_kept(study).model_copy(update={"resolved": found})
    store = RunDirectory.open(directory, recorded, fresh=fresh)
    try:
        identity.refuse_changes(directory, setup, found)  # what another process may have begun since
        identity.complete(store, found)
        keeping.keep(store, files)
    except BaseException:
        store.close()
        raise
    return store


def train_missing(store: RunDirectory, setup: Setup, launcher: Launcher, progress: Progress) -> int:
    """Trains and tests the fleets of the study that have no results yet; how many runs they held."""
    setup = replace(setup, begun_with=begun_with(store.study))
    todo = work(store, setup, progress)
    if todo.pending:
        record_plan(store, setup, todo)
        announce(store, setup, todo, progress)
    launch(launcher, setup, todo.pending, store, progress)
    return sum(len(fleet.runs) for fleet in todo.pending)


def record_plan(store: RunDirectory, setup: Setup, todo: Work) -> None:
    """Which runs train together, and where: as ``fleets.json`` and ``environment.json`` keep it."""
    store.write_fleets([fleet.to_json() for fleet in todo.fleets])
    told = [*remarks(todo.fleets), *notes(setup), *condition_remarks(todo.fleets)]
    environment = describe(setup.machine, setup.splits, told)
    store.write_environment(with_earlier(environment, store.read_environment()))


def announce(store: RunDirectory, setup: Setup, todo: Work, progress: Progress) -> None:
    """Tells how much there is to do and how much of it is done, and what a person should know of how it trains."""
    for note in setup.machine.notes:
        progress.message(note)
    epochs = setup.study.train.epochs
    total = sum(len(fleet.runs) for fleet in todo.fleets) * epochs
    left = sum(len(fleet.runs) * (epochs - epochs_done(store, fleet)) for fleet in todo.pending)
    progress.started(
        Beginning(
            study=store.study.name,
            directory=store.path,
            arms=tuple(store.study.arms),
            seeds=store.study.seeds,
            epochs=epochs,
            total=total,
            done=total - left,
        )
    )
    for note in (*remarks(todo.pending), *notes(setup)):
        progress.message(note)
