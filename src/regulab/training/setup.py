"""Sets a study up: parses its arms, puts its images on the device, checks its networks. Done once, and handed on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from regulab import models
from regulab.config import Study
from regulab.config.metrics import refuse_endpoint
from regulab.data import load
from regulab.data.splits import Splits
from regulab.techniques import arms_of
from regulab.training.augmentation_checks import check_augmentation
from regulab.training.checks import check_model
from regulab.training.machine import choose_machine
from regulab.training.mixing_checks import check_mixing
from regulab.training.no_room import room_needed
from regulab.training.runs import Run, Setup

__all__ = ["Run", "Setup", "set_up"]


def set_up(study: Study, data: Splits | Path, device: str = "auto") -> Setup:
    """What all runs of a study share: arms, splits, training images with preprocessing of their own, machine, networks.

    ``data`` are the splits, or the data root that they are loaded from; ``device`` is auto, cpu, cuda or cuda:1 …
    What a person should know of the networks stands in ``machine.notes``. To be called within
    `regulab.training.machine.process_settings`. Raises `UserError` where arms, data, device or network are wrong: arms
    before anything is loaded, a network that no run can train before anything is written.
    """
    arms = arms_of(study)
    splits = data if isinstance(data, Splits) else load(study.data, study.protocol, data)
    machine = choose_machine(device, study.train.precision)
    with room_needed(machine.device, f"the {len(splits.train):,} training images"):
        setup = Setup.of(study, splits, machine, arms)
    _ = setup.class_weights  # refused here where they name a class that is not there
    models.refresh(study.model)
    refuse_endpoint(study.endpoint.metric, setup.classes, setup.test_images or 0)
    check_augmentation(setup)
    check_mixing(setup)
    with room_needed(machine.device, "a look at the network"):
        looked = check_model(setup)
    return replace(setup, machine=replace(machine, notes=(*machine.notes, *looked)))
