"""Small studies for the tests of training: real digits, few images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regulab import techniques
from regulab.config import Study, build_study
from regulab.data import load
from regulab.training.batches import ImageTensors
from regulab.training.fleet import Fleet
from regulab.training.kernels.build import library
from regulab.training.loop import make_trainer
from regulab.training.machine import Machine
from regulab.training.setup import Run, Setup
from regulab.training.teaching import Teachers, untrained
from regulab.training.trainer import Trainer

CPU = torch.device("cpu")
FLOAT32 = Machine(CPU, torch.float32)
FUSED = Machine(CPU, torch.float32, kernels=library(torch.float32) is not None)
FLOAT64 = Machine(CPU, torch.float64, parameters=torch.float64)
ON_DEVICE = Machine(CPU, torch.float64, parameters=torch.float64, on_device=True)  # as on a GPU
NOTEBOOK_NET = f"{Path(__file__).parents[2] / 'benchmarks' / 'peers' / 'notebook_style.py'}:Net"


def study_of(arms: Mapping[str, Any], **more: Any) -> Study:
    content: dict[str, Any] = {"name": "test", "arms": dict(arms), "baseline": next(iter(arms)), "seeds": 3}
    content["train"] = {"epochs": 4, "batch_size": 37, "precision": "fp32", **more.pop("train", {})}
    return build_study({**content, **more})


def setup_of(study: Study, images: int = 150, machine: Machine = FLOAT32) -> Setup:
    splits = load(study.data, study.protocol, Path("nowhere"))
    few = replace(splits, train=splits.train.take(np.arange(images)))
    return Setup.of(study, few, machine, techniques.arms_of(study))


def validation_of(study: Study) -> ImageTensors:
    return ImageTensors.of(load(study.data, study.protocol, Path("nowhere")).validation, CPU)


def runs_of(study: Study) -> list[Run]:
    arms = techniques.arms_of(study)
    return [Run(arm, seed, arms[arm]) for seed in study.seeds for arm in arms]


def fleet_of(setup: Setup, runs: Sequence[Run]) -> Fleet:
    """With untrained teachers for those that learn from others."""
    trainer = make_trainer("fleet", setup, runs, teachers_of(setup, runs, "fleet"))
    assert isinstance(trainer, Fleet)
    return trainer


def plain_of(setup: Setup, run: Run) -> Trainer:
    """The same in the plain loop, whose teachers are plain modules too."""
    return make_trainer("plain", setup, [run], teachers_of(setup, [run], "plain"))


def teachers_of(setup: Setup, runs: Sequence[Run], engine: str) -> Teachers:
    """The networks that the teachers begin with, each of another seed than those whom they teach."""
    found = {}
    for run in runs:
        teacher = setup.teacher(run)
        if teacher is not None:
            found[teacher.arm, teacher.seed] = untrained(
                setup, replace(teacher, seed=teacher.seed + 9), engine
            )
    return found
