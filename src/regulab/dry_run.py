"""What a study would cost, without training it: ``regulab run --dry-run``, and ``regulab init`` before there is one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from regulab.config import Study
from regulab.config.factors import MANY_ARMS
from regulab.data.splits import Splits
from regulab.data.stored_pixels import StoredPixels
from regulab.run_directory.names import STUDY
from regulab.statistics.sign_flip import least_pairs
from regulab.statistics.verdicts import ALPHA
from regulab.training.batches import images_per_epoch, images_per_step
from regulab.training.checks import bytes_per_image
from regulab.training.evaluate import evaluate
from regulab.training.loop import Job, make_trainer
from regulab.training.machine import process_settings
from regulab.training.network_notes import sizes
from regulab.training.notes import notes
from regulab.training.planning import FleetPlan, plan_fleets, remarks
from regulab.training.setup import Setup, set_up
from regulab.training.teaching import Teachers, untrained

MEASURED_STEPS = 2  # of an epoch
MEASURED_SECONDS, MOST_MEASURED = 1.5, 12  # of a kind of fleet, in training and in inference; epochs
# Beside training: the program starts, figures and pages are drawn; each run is tested and recorded. On two cores of a
# Xeon 16 runs on the digits take 7 s more than their training does, 4 runs on MNIST 8 s.
REPORT_SECONDS, RUN_SECONDS = 6.0, 0.05


@dataclass(frozen=True)
class Amounts:
    """How many images of each part a study has, and how many bytes of those that train are held in memory."""

    train: int
    validation: int
    test: int
    bytes_held: int


@dataclass(frozen=True)
class Plan:
    """What a study would do."""

    runs: int
    fleets: list[FleetPlan]
    memory_bytes: int  # activations of the largest fleet's step, and images that are in memory
    seconds: float  # from the command to the report, by a few measured steps
    training_seconds: float  # of these what grows with epochs and runs
    notes: list[str]


def plan(study: Study, *, data_root: Path, device: str = "auto") -> Plan:
    """Runs, fleets, memory and time of a study; trains a few steps on copies to measure, writes nothing."""
    start = time.perf_counter()
    with process_settings():
        setup = set_up(study, data_root, device)
        assert setup.splits.seal is not None, "`load` seals the test split"
        pixels = setup.splits.train.pixels
        held = 0 if isinstance(pixels, StoredPixels) else pixels.nbytes
        test = len(setup.splits.seal.labels)
        amounts = Amounts(len(setup.images), len(setup.splits.validation), test, held)
        planned = _plan(setup, amounts, time.perf_counter() - start, setup.splits.notes)
        return replace(planned, notes=[*planned.notes, *notes(setup), *sizes(setup)])


def many_arms(study: Study, directory: Path, *, fresh: bool) -> bool:
    """Whether a factorial is so large that it is asked before it trains; not of one that was begun already."""
    begun = not fresh and (directory / STUDY).exists()
    return study.factors is not None and len(study.arms) > MANY_ARMS and not begun


def size_in_words(study: Study, planned: Plan) -> str:
    """``64 arms × 10 seeds, 640 runs in 8 fleets, about 3 h 5 min``, and whether so many seeds can decide anything."""
    hours, minutes = divmod(math.ceil(planned.seconds / 60), 60)
    time_taken = f"{hours:,} h {minutes} min" if hours else f"{minutes} min"
    arms, fewest = len(study.arms), least_pairs(ALPHA)
    seeds, fleets = _counted(len(study.seeds), "seed"), _counted(len(planned.fleets), "fleet")
    idle = f"; {seeds} can show no difference of {arms - 1:,} arms, {fewest} are the fewest"
    return (
        f"{arms:,} arms × {seeds}, {planned.runs:,} runs in {fleets}, about {time_taken}"
        f"{idle if len(study.seeds) < fewest else ''}"
    )


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' if count > 1 else ''}"


def plan_without_images(study: Study, stand_ins: Splits, amounts: Amounts, device: str = "auto") -> Plan:
    """The same for images that are not loaded: a few others of their size and classes stand in for them."""
    start = time.perf_counter()
    with process_settings():
        return _plan(set_up(study, stand_ins, device), amounts, time.perf_counter() - start, ())


def _plan(setup: Setup, amounts: Amounts, seconds: float, said: Sequence[str]) -> Plan:
    """``seconds`` have gone by since the study was begun; ``said`` are notes on its images."""
    start = time.perf_counter()
    study = setup.study
    fleets = plan_fleets(setup, study.seeds)
    seconds += time.perf_counter() - start
    largest = max(fleets, key=lambda fleet: len(fleet.runs))
    batch = images_per_step(amounts.train, study.train.batch_size)
    bytes_each = max(bytes_per_image(setup, run) for run in setup.examples())
    memory = len(largest.runs) * batch * bytes_each + amounts.bytes_held
    runs = sum(len(fleet.runs) for fleet in fleets)
    training = _training_seconds(setup, fleets, amounts) + RUN_SECONDS * runs
    return Plan(
        runs,
        fleets,
        memory,
        seconds + training + REPORT_SECONDS,
        training,
        [*said, *setup.machine.notes, *remarks(fleets)],
    )


def _training_seconds(setup: Setup, fleets: Sequence[FleetPlan], amounts: Amounts) -> float:
    """Of all fleets: the largest one of each architecture is measured, and stands for the others by its runs."""
    train = setup.study.train
    measured: dict[object, tuple[float, int]] = {}
    total = 0.0
    for fleet in sorted(fleets, key=lambda fleet: -len(fleet.runs)):
        kind = (fleet.engine, setup.architecture(setup.run(*fleet.runs[0])))
        if kind not in measured:
            small = _small(setup, amounts)
            step, evaluation = _measured(Job(fleet, small, teachers=_stand_ins(small, fleet, fleets)))
            epoch = step * images_per_epoch(amounts.train, train.batch_size)
            epoch += evaluation * amounts.validation
            measured[kind] = (epoch * train.epochs + evaluation * amounts.test, len(fleet.runs))
        seconds, runs = measured[kind]
        total += seconds * len(fleet.runs) / runs
    return total


def _stand_ins(setup: Setup, fleet: FleetPlan, fleets: Sequence[FleetPlan]) -> Teachers:
    """Of teachers that have not trained yet: evaluating them costs as much."""
    engines = {run: plan.engine for plan in fleets for run in plan.runs}
    runs = [run for pair in fleet.runs if (run := setup.teacher(setup.run(*pair)))]
    return {
        (run.arm, run.seed): untrained(setup, run, engines.get((run.arm, run.seed), "plain")) for run in runs
    }


def _measured(job: Job) -> tuple[float, float]:
    """Seconds for one image of a fleet, in training and in inference: the least of a few epochs of a few steps."""
    setup = job.setup
    trainer = make_trainer(job.plan.engine, setup, job.runs, job.teachers)
    first = trainer.train_epoch(1).loss.tolist()  # the first steps find kernels and memory
    training = _least_seconds(lambda: trainer.train_epoch(2, [[loss] for loss in first]).loss.tolist())
    inference = _least_seconds(lambda: evaluate(trainer, setup.images, setup.preprocessing)[0].tolist())
    taken = images_per_epoch(len(setup.images), setup.study.train.batch_size)
    return training / taken, inference / len(setup.images)


def _least_seconds(work: Callable[[], object]) -> float:
    """Of what waits for the device to be done. Others who use the machine only ever make it slower: beside a program
    on two of two cores the medians of a small network were 25 times the least.
    """
    times: list[float] = []
    while not times or (len(times) < MOST_MEASURED and sum(times) < MEASURED_SECONDS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def _small(setup: Setup, amounts: Amounts) -> Setup:
    """The setup with as many images as a few steps take, in batches of the size that the study's have."""
    batch = images_per_step(amounts.train, setup.study.train.batch_size)
    return replace(setup, images=setup.images.first(MEASURED_STEPS * batch))
