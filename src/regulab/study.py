"""The main path: a study from its file to its report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from regulab import deciding, techniques
from regulab.config import Study
from regulab.data import load
from regulab.data.preprocessing import fit
from regulab.data.splits import Splits
from regulab.errors import UserError
from regulab.evaluation.misclassified import collect_mistakes
from regulab.evaluation.testing import Tested, test, with_shared_orders
from regulab.models import weights_hash
from regulab.progress import Progress, Silent
from regulab.records import DIVERGED, Result
from regulab.reporting import write_report
from regulab.store import RunDirectory, read_records
from regulab.training.batches import ImageTensors, steps_per_epoch
from regulab.training.crew import Material
from regulab.training.environment import describe
from regulab.training.loop import Voyage, make_crew
from regulab.training.machine import choose_machine, keep_freed_memory
from regulab.training.planning import (
    FleetPlan,
    bytes_per_image,
    check_model,
    crew_runs,
    plan_fleets,
    runs_per_fleet,
)


@dataclass(frozen=True)
class Outcome:
    """What a study came to."""

    directory: Path
    report: Path
    diverged: list[tuple[str, int]]
    trained: int  # runs that this command trained or finished


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
    material = prepare(study, splits, device)
    check_model(material, arms)
    model_hash = weights_hash(material.module(0))
    found = {
        "class_names": list(splits.class_names),
        "legends": techniques.legends(study),
        "model_hash": model_hash,
    }
    with RunDirectory.open(directory, study.model_copy(update={"resolved": found}), fresh=fresh) as store:
        refuse_other_model(store, model_hash)
        trained, batch = 0, max(1, runs_per_fleet(material, len(arms)) // len(arms))
        try:
            for _ in deciding.rounds(store, max_seeds, batch, progress):
                trained += train_missing(store, material, arms, splits, device, progress)
        finally:
            progress.finished()
        write_report(read_records(directory), directory)
        diverged = [(result.arm, result.seed) for result in store.read_results() if result.status == DIVERGED]
    return Outcome(directory, directory / "report.html", diverged, trained)


def prepare(study: Study, splits: Splits, device: str) -> Material:
    """The training part on the device, with preprocessing constants of its own; checks that the network takes it."""
    keep_freed_memory()
    machine = choose_machine(device, study.train.precision)
    train = ImageTensors.of(splits.train, machine.device)
    material = Material(
        study, train, fit(splits.train, study.data.normalize), len(splits.class_names), machine
    )
    bytes_per_image(material)
    return material


def refuse_other_model(store: RunDirectory, model_hash: str) -> None:
    """Raises `UserError` where seed 0 no longer gives the initial weights that the run directory was begun with."""
    begun = (store.study.resolved or {}).get("model_hash", model_hash)
    if begun != model_hash:
        raise UserError(
            "the model is not the one that this study was begun with: its code or its initialization changed",
            expected="the same model, another --out, or --fresh to start over",
            where=str(store.path),
        )


def train_missing(
    store: RunDirectory,
    material: Material,
    arms: Mapping[str, tuple[techniques.Technique, ...]],
    splits: Splits,
    device: str,
    progress: Progress,
) -> int:
    """Trains and tests the fleets of the study that have no results yet; how many runs they held."""
    known = [FleetPlan.of_json(content) for content in store.read_fleets()]
    fleets = plan_fleets(material, arms, store.study.seeds, known)
    done = {(result.arm, result.seed) for result in store.read_results()}
    pending = [fleet for fleet in fleets if not done.issuperset(fleet.runs)]
    for fleet in fleets:
        if fleet not in pending:
            store.delete_checkpoint(fleet.index)  # stopped between its results and this
    if pending:
        store.write_fleets([fleet.to_json() for fleet in fleets])
        store.write_environment(describe(material.machine, splits))
        _start(progress, material.study, fleets, pending, store)
    for fleet in pending:
        aboard = replace(material, machine=choose_machine(device, fleet.precision))
        torch.set_num_threads(fleet.threads)
        validation = ImageTensors.of(splits.validation, aboard.machine.device)
        trained = Voyage(fleet, aboard, crew_runs(fleet, arms), validation, store).train(progress)
        record(store, fleet, test(trained, fleet.engine, aboard, splits.open_test()), splits)
    return sum(len(fleet.runs) for fleet in pending)


def record(store: RunDirectory, fleet: FleetPlan, tested: Sequence[Tested], splits: Splits) -> None:
    """Writes what a tested fleet leaves; its rows in the results come last, and with them it counts as done."""
    results: list[Result] = list(store.read_results())
    orders = store.read_orders()
    for run_tested in tested:
        result = run_tested.result
        if run_tested.predictions is not None and run_tested.weights is not None:
            store.write_predictions(result.arm, result.seed, run_tested.predictions)
            weights = {name: tensor.cpu().numpy() for name, tensor in run_tested.weights.items()}
            store.write_weights(result.arm, result.seed, weights)
        results.append(result)
        orders[result.arm, result.seed] = run_tested.orders
    predictions = (store.read_predictions(result.arm, result.seed) for result in results)
    store.write_mistakes(collect_mistakes((p for p in predictions if p is not None), splits.open_test()))
    store.write_orders(orders)
    store.write_results(with_shared_orders(results, orders))
    store.delete_checkpoint(fleet.index)


def _start(
    progress: Progress,
    study: Study,
    fleets: Sequence[FleetPlan],
    pending: Sequence[FleetPlan],
    store: RunDirectory,
) -> None:
    epochs = study.train.epochs
    total = sum(len(fleet.runs) for fleet in fleets) * epochs
    left = sum(len(fleet.runs) * (epochs - _epochs_done(store, fleet)) for fleet in pending)
    progress.started(total, total - left)
    for reason in sorted({fleet.reason for fleet in pending if fleet.engine == "plain"}):
        progress.message(f"the plain loop trains, run by run: {reason}")


def _epochs_done(store: RunDirectory, fleet: FleetPlan) -> int:
    saved = store.load_checkpoint(fleet.index)
    return 0 if saved is None else int(saved[1]["epoch"])


@dataclass(frozen=True)
class Plan:
    """What a study would do: ``regulab run --dry-run``."""

    runs: int
    fleets: list[FleetPlan]
    memory_bytes: int  # activations of the largest fleet's step, and the images
    seconds: float  # all training, from a few measured steps
    notes: list[str]


def plan(study: Study, *, data_root: Path, device: str = "auto") -> Plan:
    """Runs, fleets, memory and time of a study; trains a few steps on copies to measure, writes nothing."""
    arms = techniques.arms_of(study)
    splits = load(study.data, study.protocol, data_root)
    material = prepare(study, splits, device)
    fleets = plan_fleets(material, arms, study.seeds, [])
    largest = max(fleets, key=lambda fleet: len(fleet.runs))
    batch = min(study.train.batch_size, len(material.train))
    memory = len(largest.runs) * batch * bytes_per_image(material) + splits.train.pixels.nbytes
    notes = [
        *material.machine.notes,
        *sorted({f"plain loop: {f.reason}" for f in fleets if f.engine == "plain"}),
    ]
    steps = steps_per_epoch(len(material.train), batch) * study.train.epochs
    share = sum(len(fleet.runs) for fleet in fleets) / len(largest.runs)
    seconds = _seconds_per_step(replace(material, train=_first(material.train, 4 * batch)), largest, arms)
    return Plan(sum(len(fleet.runs) for fleet in fleets), fleets, memory, seconds * steps * share, notes)


def _seconds_per_step(
    material: Material, fleet: FleetPlan, arms: dict[str, tuple[techniques.Technique, ...]]
) -> float:
    crew = make_crew(fleet.engine, material, crew_runs(fleet, arms))
    crew.train_epoch(1)  # the first steps find kernels and memory
    start = time.perf_counter()
    crew.train_epoch(2)
    return (time.perf_counter() - start) / steps_per_epoch(
        len(material.train), material.study.train.batch_size
    )


def _first(images: ImageTensors, count: int) -> ImageTensors:
    return ImageTensors(images.pixels[:count], images.labels[:count])
