"""Testing: the only reader of the test split, once, after training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from regulab.data.dataset import Images
from regulab.evaluation.sparsity import weight_measures
from regulab.records import COMPLETED, Predictions, Result
from regulab.training.batches import ImageTensors
from regulab.training.crew import Arrays, Crew, Material, accuracy, evaluate
from regulab.training.loop import RunLog, Trained, make_crew


@dataclass(frozen=True)
class Tested:
    """One run's row of results, its predictions, and its weights; the last two None where it diverged."""

    result: Result
    predictions: Predictions | None
    weights: Arrays | None


def test(trained: Trained, engine: str, material: Material, images: Images) -> list[Tested]:
    """Tests every run that did not diverge, with the weights it ended with, and measures it on the training part.

    Both in inference mode and without augmentation.
    """
    finished = [p for p, weights in enumerate(trained.weights) if weights is not None]
    rows: dict[int, Tested] = {}
    if finished:
        kept = [trained.weights[p] for p in finished]
        crew = make_crew(engine, material, [trained.runs[p] for p in finished])
        crew.load_weights(
            {name: torch.stack([w[name] for w in kept if w is not None]) for name in kept[0] or {}}
        )
        rows = dict(zip(finished, _test_crew(crew, trained, finished, material, images), strict=True))
    runs = range(len(trained.runs))
    return [rows[p] if p in rows else Tested(untested(trained, p, material), None, None) for p in runs]


def _test_crew(
    crew: Crew, trained: Trained, finished: Sequence[int], material: Material, images: Images
) -> list[Tested]:
    test_images = ImageTensors.of(images, material.machine.device)
    test_loss, predicted, confidence = evaluate(crew, test_images, material.preprocessing)
    train_loss, train_predicted, _ = evaluate(crew, material.train, material.preprocessing)
    test_accuracy = accuracy(predicted, test_images.labels)
    train_accuracy = accuracy(train_predicted, material.train.labels)
    tested = []
    for row, position in enumerate(finished):
        weights = trained.weights[position]
        assert weights is not None
        run = trained.runs[position]
        initial = dict(material.module(run.seed, run.arm).named_parameters())
        result = replace(
            untested(trained, position, material),
            test_loss=float(test_loss[row]),
            test_accuracy=float(test_accuracy[row]),
            train_loss=float(train_loss[row]),
            train_accuracy=float(train_accuracy[row]),
            **weight_measures(weights, initial),
        )
        predictions = Predictions(
            labels=images.labels,
            predicted=predicted[:, row].cpu().numpy(),
            confidence=confidence[:, row].float().cpu().numpy(),
        )
        tested.append(Tested(result, predictions, weights))
    return tested


def untested(trained: Trained, position: int, material: Material) -> Result:
    """A run's row without measures: what a diverged run has."""
    log = trained.logs[position]
    return Result(
        arm=log.arm,
        seed=log.seed,
        status=log.status,
        epochs=len(log.orders),
        best_epoch=log.best_epoch,
        test_loss=None,
        test_accuracy=None,
        train_loss=None,
        train_accuracy=None,
        weight_norm_l1=None,
        weight_norm_l2=None,
        zero_fraction=None,
        near_zero_fraction=None,
        parameters=sum(p.numel() for p in material.module(log.seed).parameters()),
        seconds=log.seconds,
        initial_weights_hash=log.initial_weights_hash,
        data_order_hash=shared_order_hash(trained.logs, log),
    )


def shared_order_hash(logs: Sequence[RunLog], log: RunLog) -> str:
    """Hash over the orders of the epochs that all completed runs of this seed trained: arms may stop early."""
    partners = [other for other in logs if other.seed == log.seed and other.status == COMPLETED] or [log]
    epochs = min(len(other.orders) for other in [*partners, log])
    return hashlib.sha256("".join(log.orders[:epochs]).encode()).hexdigest()
