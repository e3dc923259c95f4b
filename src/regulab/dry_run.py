"""What a study would cost, without training it: ``regulab run --dry-run``."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from regulab.config import Study
from regulab.training.batches import ImageTensors, images_per_step, steps_per_epoch
from regulab.training.checks import bytes_per_image
from regulab.training.loop import Job, make_trainer
from regulab.training.machine import process_settings
from regulab.training.notes import notes, sizes
from regulab.training.planning import FleetPlan, plan_fleets, remarks
from regulab.training.setup import set_up


@dataclass(frozen=True)
class Plan:
    """What a study would do."""

    runs: int
    fleets: list[FleetPlan]
    memory_bytes: int  # activations of the largest fleet's step, and the images
    seconds: float  # all training, from a few measured steps
    notes: list[str]


def plan(study: Study, *, data_root: Path, device: str = "auto") -> Plan:
    """Runs, fleets, memory and time of a study; trains a few steps on copies to measure, writes nothing."""
    with process_settings():
        setup = set_up(study, data_root, device)
        fleets = plan_fleets(setup, study.seeds)
        largest = max(fleets, key=lambda fleet: len(fleet.runs))
        batch = images_per_step(len(setup.images), study.train.batch_size)
        bytes_each = max(bytes_per_image(setup, run) for run in setup.examples())
        memory = len(largest.runs) * batch * bytes_each + setup.splits.train.pixels.nbytes
        said = [
            *setup.splits.notes,
            *setup.machine.notes,
            *remarks(fleets),
            *notes(setup),
            *sizes(setup),
        ]
        steps = steps_per_epoch(len(setup.images), study.train.batch_size) * study.train.epochs
        runs = sum(len(fleet.runs) for fleet in fleets)
        few = replace(setup, images=_first(setup.images, 4 * batch))
        seconds = _seconds_per_step(Job(largest, few)) * steps * runs / len(largest.runs)
    return Plan(runs, fleets, memory, seconds, said)


def _seconds_per_step(job: Job) -> float:
    trainer = make_trainer(job.plan.engine, job.setup, job.runs)
    first = trainer.train_epoch(1)  # the first steps find kernels and memory
    start = time.perf_counter()
    trainer.train_epoch(2, [[loss] for loss in first.loss.tolist()])
    batch_size = job.setup.study.train.batch_size
    return (time.perf_counter() - start) / steps_per_epoch(len(job.setup.images), batch_size)


def _first(images: ImageTensors, count: int) -> ImageTensors:
    return ImageTensors(images.pixels[:count], images.labels[:count])
