"""Finished run directories with the accuracies that a test asks for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from regulab.config import build_study
from regulab.records import Predictions
from regulab.run_directory.writing import RunDirectory
from tests.samples import diverged, epochs, result

IMAGES = 1000


def made(
    path: Path,
    accuracies: Mapping[str, Sequence[float | None]],
    *,
    weights: str = "w",
    test_hash: str | None = "t",
    seeds: Sequence[int] | None = None,
    classes: Sequence[str] = ("0", "1"),
    finished: bool = True,
    predictions: bool = False,
    **study: Any,
) -> Path:
    """``accuracies`` in percent of 1,000 images, by arm and seed, None for a run that diverged. Runs of a seed have the
    initial weights called ``weights`` and one order, whatever the study."""
    count = max(map(len, accuracies.values()))
    seeds = list(range(count)) if seeds is None else list(seeds)
    found: dict[str, Any] = {"class_names": list(classes), "legends": {arm: arm for arm in accuracies}}
    if test_hash is not None:
        found["test_hash"] = test_hash
    arms = {arm: {} if arm == "none" else {"l2": 1e-4} for arm in accuracies}
    content = {
        "name": path.name,
        "seeds": seeds if finished else [*seeds, 999],
        "arms": arms,
        "baseline": next(iter(arms)),
        "resolved": found,
        "train": {"epochs": 3},
        **study,
    }
    with RunDirectory.open(path, build_study(content), fresh=False) as store:
        store.write_environment({})
        rows, there = [], {(one.arm, one.seed) for one in store.read_results()}
        for arm, values in accuracies.items():
            for seed, accuracy in zip(seeds, values, strict=True):
                same = {"initial_weights_hash": f"{weights}{seed}", "data_order_hash": f"o{weights}{seed}"}
                one = diverged if accuracy is None else result
                measured = {} if accuracy is None else {"test_accuracy": accuracy}
                rows.append(one(arm, seed, **same, **measured))
                lines = epochs(arm, seed)
                if (arm, seed) not in there:
                    store.append_history(
                        lines if accuracy else [replace(line, val_loss=None) for line in lines]
                    )
                if predictions and accuracy is not None:
                    store.write_predictions(arm, seed, predicted(accuracy))
        store.write_results(rows)
    return path


def predicted(accuracy: float, flipped: int = 0) -> Predictions:
    """Of 1,000 images, of which as many are right as ``accuracy`` says; ``flipped`` labels are others."""
    labels = np.arange(IMAGES) % 2
    labels[:flipped] = 1 - labels[:flipped]
    wrong = np.arange(IMAGES) >= round(accuracy * IMAGES / 100)
    return Predictions(
        labels=labels,
        predicted=np.where(wrong, 1 - labels, labels),
        confidence=np.full(IMAGES, 0.75, dtype=np.float32),
    )
