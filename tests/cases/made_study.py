"""A finished run directory, made without training through the very functions that record one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from regulab.config import Study, Train
from regulab.data.dataset import Images
from regulab.evaluation.recording import record
from regulab.evaluation.testing import Tested
from regulab.records import EpochRecord
from regulab.run_directory.checksums import of_bytes
from regulab.run_directory.writing import RunDirectory
from regulab.training.planning import FleetPlan
from tests.samples import epoch_record, result, with_classes

EPOCHS, IMAGES, CLASSES = 3, 12, ("cat", "dog", "owl")
CONDITIONS = {"torch": "2.13", "processor": "a chip"}


def made_study(seeds: tuple[int, ...] = (0, 1), name: str = "made") -> Study:
    found = {"class_names": list(CLASSES), "legends": {"none": "none", "l1": "l1 (λ)"}, "data_hash": "d" * 64}
    return Study(
        name=name,
        seeds=seeds,
        train=Train(epochs=EPOCHS),
        arms={"none": {}, "l1": {"l1": 1e-4}},
        resolved=found,
    )


def make(path: Path, study: Study | None = None) -> Path:
    """Two arms and two seeds, a fleet a seed; every file of a run directory but the pages."""
    study = study or made_study()
    draws = np.random.default_rng(7)
    labels = np.arange(IMAGES) % len(CLASSES)
    pixels = draws.integers(0, 256, (IMAGES, 4, 4, 1), dtype=np.uint8)
    images = Images(pixels, labels)
    plans = [
        FleetPlan(
            index, tuple((arm, seed) for arm in study.arms), "fleet", "", "fp32", 1, conditions=(CONDITIONS,)
        )
        for index, seed in enumerate(study.seeds)
    ]
    with RunDirectory.open(path, study, fresh=False) as store:
        store.write_fleets([plan.to_json() for plan in plans])
        store.write_environment(
            {"torch": "2.13", "train_images": 1077, "notes": ["a note"], "data_hash": "d" * 64}
        )
        for plan in plans:
            tested = [_tested(arm, seed, labels, draws) for arm, seed in plan.runs]
            for _, epochs in tested:
                store.append_history(epochs)
            record(store, plan, [one for one, _ in tested], images)
    return path


def _tested(
    arm: str, seed: int, labels: np.ndarray, draws: np.random.Generator
) -> tuple[Tested, list[EpochRecord]]:
    predicted = np.where(draws.random(IMAGES) < 0.7, labels, (labels + 1) % len(CLASSES))
    predictions = with_classes(labels, predicted, len(CLASSES), draws)
    assert predictions.log_likelihood is not None
    epochs = [
        epoch_record(
            arm=arm, seed=seed, epoch=epoch, val_loss=float(draws.uniform(0.1, 2)), seconds=float(draws.uniform(1, 2)),
            fleet=seed, fleet_size=2, train_loss=float(draws.uniform(0.1, 2)), penalty=float(draws.uniform(0, 1)),
        )
        for epoch in range(1, EPOCHS + 1)
    ]  # fmt: skip
    losses = [epoch.val_loss for epoch in epochs]
    row = replace(
        result(arm, seed),
        epochs=EPOCHS,
        best_epoch=losses.index(min(losses)) + 1,
        test_accuracy=float((labels == predicted).mean()) * 100,
        test_loss=-float(predictions.log_likelihood.mean(dtype=np.float64)),
        seconds=sum(epoch.seconds / 2 for epoch in epochs),
        parameters=100,
        initial_weights_hash=of_bytes(f"weights {seed}".encode()),
    )
    orders = tuple(of_bytes(f"order {seed} {epoch}".encode()) for epoch in range(EPOCHS))
    weights = {"conv.weight": torch.tensor(draws.standard_normal((6, 5)), dtype=torch.float32)}
    return Tested(row, orders, predictions, weights), epochs
