"""What a study needs before it trains: its material, and what it must not have changed since it was begun."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from regulab import models, techniques
from regulab.config import Study
from regulab.data.preprocessing import fit
from regulab.data.splits import Splits
from regulab.errors import UserError
from regulab.store import RunDirectory
from regulab.training.batches import ImageTensors, images_per_epoch
from regulab.training.checks import check_model
from regulab.training.crew import Material, Run, trained_weight_names
from regulab.training.machine import choose_machine, keep_freed_memory

FIXED = {
    "model_hash": "the model: its code or its initialization",
    "buffers_hash": "the model: its buffers at the start",
    "data_hash": "the training images",
    "split_hash": "which images train and validate",
}


def prepare(study: Study, splits: Splits, device: str) -> Material:
    """The training part on the device, with preprocessing constants of its own; checks that the network takes it."""
    keep_freed_memory()
    machine = choose_machine(device, study.train.precision)
    train = ImageTensors.of(splits.train, machine.device)
    preprocessing = fit(splits.train, study.data.normalize)
    material = Material(study, train, preprocessing, len(splits.class_names), machine)
    if models.is_own(study.model.name):
        models.refresh(study.model.name)
    notes = check_model(material, techniques.arms_of(study))
    return replace(material, machine=replace(machine, notes=(*machine.notes, *notes)))


def findings(study: Study, splits: Splits, material: Material) -> dict[str, Any]:
    """What goes into the resolved study file: names for the report, and hashes of what must stay the same."""
    return {
        "class_names": list(splits.class_names),
        "legends": techniques.legends(study),
        "model_hash": models.fingerprint(study.model, material.examples()),
        **_own_network(study, material),
        "data_hash": splits.content_hash,
        "split_hash": splits.index_hash,
        "images_per_epoch": images_per_epoch(len(splits.train), study.train.batch_size),
    }


def _own_network(study: Study, material: Material) -> dict[str, Any]:
    """A person's network: its files, its buffers at the start, and for each arm the weights that norms are taken of."""
    if not models.is_own(study.model.name):
        return {}
    arms = techniques.arms_of(study)
    weights: dict[str, list[str]] = {}
    for group in material.architectures:
        run = Run(group[0], study.seeds[0], arms[group[0]])
        names = sorted(trained_weight_names(material.module(run), material.idle(run)))
        weights |= dict.fromkeys(group, names)
    buffers = "".join(models.buffers_hash(module) for module in material.examples())
    return {
        "model_files": models.file_hashes(study.model),
        "buffers_hash": hashlib.sha256(buffers.encode()).hexdigest(),
        "weight_names": weights,
    }


def refuse_changes(store: RunDirectory, found: Mapping[str, Any]) -> None:
    """Raises `UserError` where model, data or split are not those that the run directory was begun with."""
    begun = store.study.resolved or {}
    changed = [
        what for key, what in FIXED.items() if key in found and begun.get(key, found[key]) != found[key]
    ]
    files = changed_files(begun, found)
    if files:
        changed.append(f"files of the network: {', '.join(files)}")
    if changed:
        raise UserError(
            f"changed since this study was begun: {'; '.join(changed)}",
            expected="the same as then, another --out, or --fresh to start over",
            where=str(store.path),
        )


def changed_files(begun: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Which files of a person's network are other than they were, or came, or went."""
    now = found.get("model_files", {})
    then = begun.get("model_files", now)
    return [path for path in {**then, **now} if then.get(path) != now.get(path)]
