"""Synthetic records: what a study of fake images would have left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from regulab.records import COMPLETED, DIVERGED, EpochRecord, Mistakes, Predictions, Result, StudyRecords
from tests.samples import with_classes

ARMS = {"none": 0.0, "l1": 0.1, "l2": 0.05, "l1+l2": -0.1}  # arm -> effect on accuracy, in points
STRENGTHS: dict[str, dict[str, float]] = {
    "none": {},
    "l1": {"l1": 1e-4},
    "l2": {"l2": 1e-4},
    "l1+l2": {"l1": 1e-4, "l2": 1e-4},
}


def make_study(arms: Sequence[str], seeds: int, epochs: int, classes: Sequence[str]) -> dict[str, Any]:
    return {
        "name": "synthetic",
        "data": {"name": "mnist", "normalize": "dataset", "augment": {}},
        "protocol": {"kind": "holdout", "validation": 100},
        "model": {"name": "cnn10k", "norm": "batch", "dropout": 0.05},
        "train": {"epochs": epochs, "batch_size": 128},
        "endpoint": {"metric": "test_accuracy", "epoch": "final", "margin": 0.1},
        "seeds": list(range(seeds)),
        "baseline": arms[0],
        "arms": {arm: STRENGTHS.get(arm, {"l2": 1e-4}) for arm in arms},
        "resolved": {
            "class_names": list(classes),
            "legends": {arm: f"{arm} (strength of {arm})" for arm in arms},
        },
    }


def make_history(
    arm: str, seed: int, epochs: int, final: float, rng: np.random.Generator
) -> list[EpochRecord]:
    lines = []
    for epoch in range(1, epochs + 1):
        error = (100 - final) * (1 + 20 * np.exp(-epoch / 3)) + 0.1 * rng.standard_normal()
        loss = 0.03 * abs(error) + 0.001 * abs(rng.standard_normal())
        lines.append(
            EpochRecord(
                arm=arm, seed=seed, epoch=epoch, train_loss=loss * 1.1, penalty=0.0,
                train_accuracy=99 - error, val_loss=loss, val_accuracy=100 - error,
                lr=0.1, fleet=0, fleet_size=4, seconds=1.5,
            )
        )  # fmt: skip
    return lines


def make_result(arm: str, seed: int, epochs: int, accuracy: float, **changes: Any) -> Result:
    values: dict[str, Any] = {
        "arm": arm, "seed": seed, "status": COMPLETED, "epochs": epochs, "best_epoch": epochs,
        "test_loss": (100 - accuracy) * 0.03, "test_accuracy": accuracy, "train_loss": 0.02,
        "train_accuracy": 99.5,
        "weight_norm_l1": 500.0, "weight_norm_l2": 12.0 - ("l2" in arm), "zero_fraction": 0.4 * ("l1" in arm),
        "near_zero_fraction": 0.01 + 0.4 * ("l1" in arm), "parameters": 9_834, "seconds": 30.0,
        "initial_weights_hash": f"weights-{seed}", "data_order_hash": f"order-{seed}",
    }  # fmt: skip
    return Result(**values | changes)


def make_predictions(labels: np.ndarray, wrong: int, classes: int, rng: np.random.Generator) -> Predictions:
    predicted = labels.copy()
    places = rng.choice(len(labels), size=wrong, replace=False)
    predicted[places] = (labels[places] + rng.integers(1, classes, size=wrong)) % classes
    confidence = rng.uniform(0.3, 1, size=len(labels)).astype(np.float32)
    return Predictions(labels=labels, predicted=predicted, confidence=confidence)


def make_images(indices: np.ndarray, channels: int, rng: np.random.Generator) -> np.ndarray:
    """Blurred strokes, ``(M, 28, 28, C)``, that look a little like writing."""
    grid = np.stack(np.meshgrid(np.arange(28), np.arange(28), indexing="ij"))
    images = np.zeros((len(indices), 28, 28, channels))
    for image in images:
        points = np.cumsum(rng.normal(0, 2.2, size=(2, 14)), axis=1)
        points += 14 - points.mean(axis=1, keepdims=True)
        distance = ((grid[..., None] - points[:, None, None]) ** 2).sum(axis=0).min(axis=-1)
        image[:] = (255 * np.exp(-distance / 4))[..., None] * rng.uniform(0.6, 1, size=channels)
    return images.astype(np.uint8)


def make_records(
    *,
    arms: Mapping[str, float] = ARMS,
    seeds: int = 3,
    epochs: int = 12,
    images: int = 1000,
    classes: Sequence[str] = tuple("0123456789"),
    channels: int = 1,
    base: float = 99.0,
    wrong: int | None = None,
    rng: int = 0,
    probabilities: bool = False,
) -> StudyRecords:
    """A finished study in which every run completed and arms of a seed are paired; without class probabilities as older
    versions recorded it."""
    generator = np.random.default_rng(rng)
    labels = generator.integers(0, len(classes), size=images)
    luck = 0.1 * generator.standard_normal(seeds)
    history: list[EpochRecord] = []
    results: list[Result] = []
    predictions: dict[tuple[str, int], Predictions] = {}
    for arm, effect in arms.items():
        for seed in range(seeds):
            aimed = base + effect + luck[seed] + 0.03 * generator.standard_normal()
            mistakes = wrong if wrong is not None else max(0, round(images * (100 - aimed) / 100))
            accuracy = 100 - 100 * mistakes / images
            predictions[arm, seed] = made = make_predictions(labels, mistakes, len(classes), generator)
            if probabilities:
                predictions[arm, seed] = with_classes(labels, made.predicted, len(classes), generator)
            history += make_history(arm, seed, epochs, accuracy, generator)
            results.append(make_result(arm, seed, epochs, accuracy))
    indices = np.unique(np.concatenate([p.wrong for p in predictions.values()]))
    return StudyRecords(
        study=make_study(list(arms), seeds, epochs, classes),
        environment={"regulab": "0.1.0", "python": "3.12.3", "device": "cpu", "data_hash": "abc"},
        history=tuple(history),
        results=tuple(results),
        predictions=predictions,
        mistakes=Mistakes(indices=indices, images=make_images(indices, channels, generator)),
    )


def with_diverged(records: StudyRecords, arm: str, seed: int, after: int = 4) -> StudyRecords:
    """The same study, but one run turned NaN after ``after`` epochs."""
    nothing = dict.fromkeys(
        ("best_epoch", "test_loss", "test_accuracy", "train_loss", "train_accuracy", "weight_norm_l1",
         "weight_norm_l2", "zero_fraction", "near_zero_fraction")
    )  # fmt: skip
    nan = {
        "train_loss": None,
        "penalty": None,
        "train_accuracy": None,
        "val_loss": None,
        "val_accuracy": None,
    }
    return replace(
        records,
        history=tuple(
            replace(line, **nan) if (line.arm, line.seed) == (arm, seed) and line.epoch > after else line
            for line in records.history
        ),
        results=tuple(
            replace(result, status=DIVERGED, **nothing)
            if (result.arm, result.seed) == (arm, seed)
            else result
            for result in records.results
        ),
        predictions={run: p for run, p in records.predictions.items() if run != (arm, seed)},
    )


def with_stopped(records: StudyRecords, arm: str, seed: int, epochs: int) -> StudyRecords:
    """The same study, but one run stopped early after ``epochs``."""
    run = (arm, seed)
    return replace(
        records,
        history=tuple(x for x in records.history if (x.arm, x.seed) != run or x.epoch <= epochs),
        results=tuple(replace(r, epochs=epochs) if (r.arm, r.seed) == run else r for r in records.results),
    )


def without(records: StudyRecords, arm: str, seed: int) -> StudyRecords:
    """The same study, but one run is missing."""
    run = (arm, seed)
    return replace(
        records,
        history=tuple(x for x in records.history if (x.arm, x.seed) != run),
        results=tuple(r for r in records.results if (r.arm, r.seed) != run),
        predictions={key: p for key, p in records.predictions.items() if key != run},
    )
