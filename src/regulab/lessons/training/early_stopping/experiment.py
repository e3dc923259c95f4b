"""Early stopping: where the validation loss turns, what a run goes back to, and what going on would have cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from regulab.lessons.kit.directions import directions, interval_text
from regulab.lessons.kit.laboratory import Laboratory, Trial
from regulab.lessons.kit.lesson import Measured, Number, Table, Values
from regulab.statistics.intervals import NOT_NEGATIVE, PERCENT

PATIENCE, IMPATIENT = 10, 3  # epochs
END, STOPPED, EARLIER = "to the end", f"patience {PATIENCE}", f"patience {IMPATIENT}"


@dataclass(frozen=True)
class StoppingCurves:
    """Curves ``(S, epochs)`` of the runs to the end, and where the stopped ones stood; test results by arm."""

    loss: Mapping[str, NDArray[np.float64]]  # training, validation
    accuracy: Mapping[str, NDArray[np.float64]]  # training, validation
    best: NDArray[np.float64]  # (S,) epoch
    stop: NDArray[np.float64]  # (S,) epoch
    test_loss: Mapping[str, NDArray[np.float64]]
    test_accuracy: Mapping[str, NDArray[np.float64]]
    verdicts: Mapping[str, str]
    chosen: int  # the seed that is drawn thick: of median stopping epoch


def restored(module: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Mean cross-entropy (nats) of a network in inference mode on images ``(N, C, H, W)``, normalized."""
    with torch.no_grad():
        return float(F.cross_entropy(module.eval()(images).double(), labels))


def stopped_as_told(epochs: NDArray[np.float64], best: NDArray[np.float64], last: int) -> NDArray[np.bool_]:
    """Which runs ended ``PATIENCE`` epochs after their best one, or at the last epoch with the best nearer than that.

    All shapes ``(S,)``.
    """
    waited = epochs - best
    as_told: NDArray[np.bool_] = (waited == PATIENCE) | ((epochs == last) & (waited < PATIENCE))
    return as_told


def measure(laboratory: Laboratory) -> Measured:
    images, batch, epochs, seeds = (200, 16, 60, 10) if laboratory.embedded else (100, 10, 80, 7)
    trial = laboratory.train(
        {
            "name": "early-stopping",
            "model": {"name": "deep", "depth": 4, "norm": "none", "dropout": 0},
            "data": {"train_images": images},
            "protocol": {"validation": None if laboratory.embedded else 300},
            "train": {
                "epochs": epochs,
                "batch_size": batch,
                "precision": "fp32",
                "optimizer": {"name": "sgd", "lr": 0.01},
                "schedule": "constant",
            },
            "seeds": seeds,
            "arms": {
                END: {},
                STOPPED: {"early_stopping": PATIENCE},
                EARLIER: {"early_stopping": IMPATIENT},
            },
        }
    )
    evidence = _evidence(trial)
    numbers = _numbers(trial, evidence)
    values = {key: number.value for key, number in numbers.items()}
    return Measured(
        numbers=numbers,
        evidence=evidence,
        findings=_findings(values),
        conditions=(
            f"{images} training images of {laboratory.dataset}, validation on {len(trial.splits.validation)}; a network"
            f" of four convolutions without norm, dropout or penalty, SGD at a constant rate, batches of {batch}, at"
            f" most {epochs} epochs, {seeds} seeds, float32. Arms of a seed start and go on alike until they stop."
            " Verdicts: paired sign-flip tests over the seeds, adjusted over the arms."
        ),
        tables=[_table(trial, evidence)],
    )


def _evidence(trial: Trial) -> StoppingCurves:
    arms = trial.study.arms
    stop = trial.results(STOPPED, "epochs")
    return StoppingCurves(
        loss={part: trial.history(END, f"{key}_loss") for part, key in _PARTS.items()},
        accuracy={part: trial.history(END, f"{key}_accuracy") for part, key in _PARTS.items()},
        best=trial.results(STOPPED, "best_epoch"),
        stop=stop,
        test_loss={arm: trial.results(arm, "test_loss") for arm in arms},
        test_accuracy={arm: trial.results(arm, "test_accuracy") for arm in arms},
        verdicts={arm: trial.verdict(arm) for arm in (STOPPED, EARLIER)},
        chosen=int(np.argsort(stop, kind="stable")[len(stop) // 2]),
    )


_PARTS = {"training": "train", "validation": "val"}


def _numbers(trial: Trial, evidence: StoppingCurves) -> dict[str, Number]:
    images, labels = trial.images("validation")
    losses = np.array([restored(trial.module(STOPPED, seed), images, labels) for seed in trial.study.seeds])
    lowest = np.nanmin(trial.history(STOPPED, "val_loss"), axis=1)
    last = trial.study.train.epochs
    as_told = stopped_as_told(evidence.stop, evidence.best, last)
    seeds, best = np.arange(len(evidence.best)), evidence.best.astype(int) - 1
    loss, accuracy = evidence.loss["validation"], evidence.accuracy["validation"]
    rise, fall = loss[:, -1] - loss[seeds, best], accuracy[:, -1] - accuracy[seeds, best]
    cost = evidence.test_loss[END] - evidence.test_loss[STOPPED]
    return {
        "restored": Number(
            value=float(np.abs(losses / lowest - 1).max()),
            label="largest relative difference between the restored validation loss and the lowest recorded",
        ),
        "otherwise": Number(value=int((~as_told).sum()), label="runs that stopped otherwise than told"),
        "epochs": Number(value=float(evidence.stop.mean()), label="epochs until the stop, mean"),
        "saved": Number(value=float(100 * (1 - evidence.stop.mean() / last)), label="epochs saved", unit="%"),
        "val_rise": Number(
            value=float(rise.mean()), label="validation loss, end minus best epoch", unit="nats"
        ),
        "test_cost": Number(
            value=float(cost.mean()), label="test loss, end minus stopped: what going on cost", unit="nats"
        ),
        "cost_word": Number(
            value=directions({"cost": cost})["cost"], label="test loss at the end, against stopped"
        ),
        "verdict": Number(value=evidence.verdicts[STOPPED], label=f"test accuracy, {STOPPED} against {END}"),
        **_accuracy_numbers(evidence),
        "val_change": Number(
            value=float(fall.mean()),
            label="validation accuracy, end minus epoch of the lowest loss",
            unit="points",
        ),
        "val_word": Number(
            value=directions({"fall": fall})["fall"],
            label="validation accuracy at the end, against that epoch",
        ),
        **_confidence_numbers(trial),
    }


def _accuracy_numbers(evidence: StoppingCurves) -> dict[str, Number]:
    return {
        "accuracy_stopped": Number(
            value=float(evidence.test_accuracy[STOPPED].mean()), label="test accuracy, stopped", unit="%"
        ),
        "accuracy_end": Number(
            value=float(evidence.test_accuracy[END].mean()), label="test accuracy, at the end", unit="%"
        ),
    }


def _confidence_numbers(trial: Trial) -> dict[str, Number]:
    sure = {arm: _confidence_of_mistakes(trial, arm) for arm in (END, STOPPED)}
    return {
        "sure_stopped": Number(
            value=sure[STOPPED], label="confidence in mistakes on test images, stopped", unit="%"
        ),
        "sure_end": Number(
            value=sure[END], label="confidence in mistakes on test images, at the end", unit="%"
        ),
    }


def _confidence_of_mistakes(trial: Trial, arm: str) -> float:
    """Percent, over the test images that each run got wrong, averaged over the runs."""
    runs = [trial.records.predictions[arm, seed] for seed in trial.study.seeds]
    return float(100 * np.mean([run.confidence[run.wrong].mean() for run in runs]))


def _table(trial: Trial, evidence: StoppingCurves) -> Table:
    rows = [
        [
            arm,
            f"{trial.results(arm, 'epochs').mean():.1f}",
            interval_text(evidence.test_loss[arm], 3, NOT_NEGATIVE),
            interval_text(evidence.test_accuracy[arm], bounds=PERCENT),
            evidence.verdicts.get(arm, "baseline"),
        ]
        for arm in (EARLIER, STOPPED, END)
    ]
    return Table(
        title="Means over the seeds with 95 % intervals",
        columns=["run", "epochs", "test loss (nats)", "test accuracy (%)", f"test accuracy against {END}"],
        rows=rows,
    )


def _findings(values: Values) -> str:
    cost = {
        "higher": f"cost {values['test_cost']:.3g} nats of test loss",
        "lower": f"lowered the test loss by {-values['test_cost']:.3g} nats, so the stop came too early",
    }.get(
        values["cost_word"], f"changed the test loss by {values['test_cost']:+.3g} nats, which is undecided"
    )
    together = {
        "lower": "so here loss and accuracy turned together",
        "higher": "so accuracy went on rising while the loss rose",
    }.get(values["val_word"], "so no loss of accuracy is shown where the loss rose")
    return (
        f"The runs stopped after {values['epochs']:.0f} epochs on average ({values['saved']:.0f} % saved) with the"
        f" weights of their best epoch. Going on {cost}. On test accuracy the verdict on stopping is"
        f" **{values['verdict']}**: {values['accuracy_stopped']:.1f} % stopped, {values['accuracy_end']:.1f} % at the"
        f" end. From the best epoch to the end validation accuracy changed by {values['val_change']:+.2f} points"
        f" ({values['val_word']}), {together}. The mean confidence in mistakes was {values['sure_stopped']:.0f} % when"
        f" stopped and {values['sure_end']:.0f} % at the end."
    )
