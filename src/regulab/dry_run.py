"""What a study would take, without training it: ``regulab run --dry-run``."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from regulab import techniques
from regulab.config import Study
from regulab.data import load
from regulab.preparation import prepare
from regulab.training.batches import ImageTensors, images_per_step, steps_per_epoch
from regulab.training.checks import bytes_per_image
from regulab.training.loop import make_trainer
from regulab.training.notes import notes
from regulab.training.planning import FleetPlan, plan_fleets, remarks, runs_of
from regulab.training.setup import Setup


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
    arms = techniques.arms_of(study)
    splits = load(study.data, study.protocol, data_root)
    setup = prepare(study, splits, device)
    fleets = plan_fleets(setup, arms, study.seeds, [])
    largest = max(fleets, key=lambda fleet: len(fleet.runs))
    batch = images_per_step(len(setup.images), study.train.batch_size)
    bytes_each = max(bytes_per_image(setup, module) for module in setup.examples())
    memory = len(largest.runs) * batch * bytes_each + splits.train.pixels.nbytes
    said = [*splits.notes, *setup.machine.notes, *remarks(fleets), *notes(setup)]
    steps = steps_per_epoch(len(setup.images), study.train.batch_size) * study.train.epochs
    share = sum(len(fleet.runs) for fleet in fleets) / len(largest.runs)
    seconds = _seconds_per_step(replace(setup, images=_first(setup.images, 4 * batch)), largest, arms)
    return Plan(sum(len(fleet.runs) for fleet in fleets), fleets, memory, seconds * steps * share, said)


def _seconds_per_step(
    setup: Setup, fleet: FleetPlan, arms: dict[str, tuple[techniques.Technique, ...]]
) -> float:
    trainer = make_trainer(fleet.engine, setup, runs_of(fleet, arms))
    first = trainer.train_epoch(1)  # the first steps find kernels and memory
    start = time.perf_counter()
    trainer.train_epoch(2, [[loss] for loss in first.loss.tolist()])
    return (time.perf_counter() - start) / steps_per_epoch(len(setup.images), setup.study.train.batch_size)


def _first(images: ImageTensors, count: int) -> ImageTensors:
    return ImageTensors(images.pixels[:count], images.labels[:count])
