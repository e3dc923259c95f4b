"""What a study needs before it trains: its material, and what it must not have changed since it was begun."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regulab import models, techniques
from regulab.config import Study
from regulab.data.preprocessing import fit
from regulab.data.splits import Splits
from regulab.errors import UserError
from regulab.store import RunDirectory
from regulab.training.batches import ImageTensors, images_per_epoch
from regulab.training.checks import bytes_per_image
from regulab.training.crew import Material
from regulab.training.machine import choose_machine, keep_freed_memory

FIXED = {
    "model_hash": "the model: its code or its initialization",
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
    for module in material.examples():
        bytes_per_image(material, module)
    return material


def findings(study: Study, splits: Splits, material: Material) -> dict[str, Any]:
    """What goes into the resolved study file: names for the report, and hashes of what must stay the same."""
    return {
        "class_names": list(splits.class_names),
        "legends": techniques.legends(study),
        "model_hash": models.fingerprint(study.model, material.examples()),
        "data_hash": splits.content_hash,
        "split_hash": splits.index_hash,
        "images_per_epoch": images_per_epoch(len(splits.train), study.train.batch_size),
    }


def refuse_changes(store: RunDirectory, found: Mapping[str, Any]) -> None:
    """Raises `UserError` where model, data or split are not those that the run directory was begun with."""
    begun = store.study.resolved or {}
    changed = [what for key, what in FIXED.items() if begun.get(key, found[key]) != found[key]]
    if changed:
        raise UserError(
            f"changed since this study was begun: {'; '.join(changed)}",
            expected="the same as then, another --out, or --fresh to start over",
            where=str(store.path),
        )
