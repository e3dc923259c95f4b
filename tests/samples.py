"""Small records of a small study, for tests of what reads and writes them."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from regulab.config import Study
from regulab.records import DIVERGED, EpochRecord, Predictions, Result
from regulab.run_directory.rows import MEASURES
from regulab.run_directory.writing import RunDirectory

STUDY = Study(name="small", seeds=(0, 1), resolved={"class_names": ["0", "1"], "legends": {"none": "none"}})


def epoch_record(**changes) -> EpochRecord:
    record = EpochRecord(
        arm="l1",
        seed=1,
        epoch=1,
        train_loss=0.1 + 0.2,
        penalty=None,
        train_accuracy=91.25,
        val_loss=1e-300,
        val_accuracy=100 / 3,
        lr=0.1,
        fleet=0,
        fleet_size=4,
        seconds=1.5,
    )
    return replace(record, **changes)


def result(arm="none", seed=0, **changes) -> Result:
    content = Result(
        arm=arm,
        seed=seed,
        status="completed",
        epochs=3,
        best_epoch=2,
        test_loss=0.1 + 0.2,
        test_accuracy=100 / 3,
        train_loss=1e-17,
        train_accuracy=100.0,
        weight_norm_l1=12.0,
        weight_norm_l2=3.5,
        zero_fraction=0.0,
        near_zero_fraction=0.25,
        parameters=9_000,
        seconds=2.5,
        initial_weights_hash="12e4",
        data_order_hash="0012",
    )
    return replace(content, **changes)


def diverged(arm="none", seed=0, **changes) -> Result:
    measures = dict.fromkeys(MEASURES)
    return result(arm, seed, status=DIVERGED, best_epoch=None, **{**measures, **changes})


def predictions(n=3) -> Predictions:
    """One of n images is right: the accuracy of `result`, for three."""
    labels = np.arange(n) % 2
    return Predictions(
        labels=labels,
        predicted=np.where(np.arange(n) == 0, labels, 1 - labels),
        confidence=np.linspace(0.1, 1, n, dtype=np.float32),
    )


def with_classes(
    labels: np.ndarray,
    predicted: np.ndarray,
    classes: int,
    draws: np.random.Generator,
    sharpness: float = 2.0,
) -> Predictions:
    """Predictions with class probabilities, as a run records them: those of ``predicted`` are the largest."""
    logits = sharpness * draws.standard_normal((len(labels), classes))
    rows, top = np.arange(len(labels)), logits.argmax(1)
    logits[rows, top], logits[rows, predicted] = logits[rows, predicted], logits[rows, top]
    return of_logits(labels, logits)


def of_logits(labels: np.ndarray, logits: np.ndarray) -> Predictions:
    """What a run records of these logits ``(N, K)``."""
    log = (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)
    rows = np.arange(len(labels))
    return Predictions(
        labels=labels,
        predicted=log.argmax(1),
        confidence=np.exp(log.max(1)),
        log_likelihood=log[rows, labels],
        probabilities=np.exp(log).astype(np.float16),
    )


def epochs(arm="none", seed=0) -> list[EpochRecord]:
    """What `result` says of its run: three epochs, the second the best, 2.5 seconds for it among four."""
    losses = (0.5, 0.25, 0.375)
    return [
        epoch_record(arm=arm, seed=seed, epoch=n, val_loss=loss, seconds=10 / 3)
        for n, loss in enumerate(losses, start=1)
    ]


def finished_run(path: Path, study: Study = STUDY) -> None:
    with RunDirectory.open(path, study, fresh=False) as opened:
        opened.write_environment({"torch": "2.13"})
        opened.append_history(epochs())
        opened.write_results([result()])
        opened.write_predictions("none", 0, predictions())
