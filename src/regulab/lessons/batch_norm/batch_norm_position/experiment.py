"""Batch normalization before or after ReLU: accuracy, training, and what the layers then see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulab.lessons.kit.activations import outputs
from regulab.lessons.kit.laboratory import Laboratory, Trial
from regulab.lessons.kit.lesson import Measured, Number, Table, Values
from regulab.lessons.kit.small_subsets import few_images

ARMS = ("before", "after")
BLOCKS = 5
SHOWN = 3  # the block whose values the figure shows, counted from 0
IMAGES = 200


@dataclass(frozen=True)
class Passed:
    """Values of one block of one trained network: into ReLU, and into the next layer; flattened."""

    relu: NDArray[np.float32]
    following: NDArray[np.float32]


@dataclass(frozen=True)
class NormPositionCurves:
    """Curves ``(S, epochs)`` and accuracies ``(S,)`` by arm; values of one network by arm."""

    loss: Mapping[str, NDArray[np.float64]]
    validation: Mapping[str, NDArray[np.float64]]
    accuracy: Mapping[str, NDArray[np.float64]]
    passed: Mapping[str, Passed]
    active: Mapping[str, NDArray[np.float64]]  # (blocks,) percent, mean over seeds


def measure(laboratory: Laboratory) -> Measured:
    trial = laboratory.train(
        {
            "name": "batch-norm-position",
            "model": {"name": "cnn10k", "dropout": 0},
            "train": {"epochs": 12, "batch_size": 64},
            "seeds": 12 if laboratory.embedded else 8,
            "arms": {arm: {"norm": {"kind": "batch", "position": arm}} for arm in reversed(ARMS)},
            **few_images(laboratory, 1000),
        }
    )
    passed = {arm: _passed(trial, arm) for arm in ARMS}
    active = {
        arm: np.array([[100 * (block.relu > 0).mean() for block in blocks] for blocks in passed[arm]])
        for arm in ARMS
    }
    evidence = NormPositionCurves(
        loss={arm: trial.history(arm, "train_loss") for arm in ARMS},
        validation={arm: trial.history(arm, "val_accuracy") for arm in ARMS},
        accuracy={arm: trial.results(arm, "test_accuracy") for arm in ARMS},
        passed={arm: passed[arm][0][SHOWN] for arm in ARMS},
        active={arm: active[arm].mean(0) for arm in ARMS},
    )
    numbers = _numbers(trial, evidence)
    return Measured(
        numbers=numbers,
        evidence=evidence,
        findings=_findings({key: number.value for key, number in numbers.items()}),
        conditions=(
            f"{laboratory.dataset}: {len(trial.splits.train):,} training images, cnn10k without dropout,"
            f" {trial.study.train.epochs} epochs of one-cycle SGD, {len(trial.study.seeds)} seeds. Activity is"
            f" measured on {IMAGES} validation images in inference mode; the histograms are block {SHOWN + 1} of seed"
            f" {trial.study.seeds[0]}."
        ),
        tables=[_active_table(evidence)],
    )


def _passed(trial: Trial, arm: str) -> list[list[Passed]]:
    """For every seed and block: what enters ReLU, and what leaves the block."""
    x, _ = trial.images("validation", IMAGES)
    last = "norm" if arm == "before" else "pool"  # the part that ReLU follows
    seeds = []
    for seed in trial.study.seeds:
        names = [f"blocks.{i}{part}" for i in range(BLOCKS) for part in ("", f".{last}")]
        layer_outputs = outputs(trial.module(arm, seed), names, x)
        seeds.append(
            [
                Passed(
                    layer_outputs[f"blocks.{i}.{last}"].flatten().numpy(),
                    layer_outputs[f"blocks.{i}"].flatten().numpy(),
                )
                for i in range(BLOCKS)
            ]
        )
    return seeds


def _numbers(trial: Trial, evidence: NormPositionCurves) -> dict[str, Number]:
    arm = trial.comparison.arms["before"]
    assert arm.difference_ci95 is not None
    low, high = arm.difference_ci95
    margin = trial.comparison.margin
    numbers = {
        f"accuracy_{name}": Number(
            value=float(evidence.accuracy[name].mean()),
            label=f"test accuracy, norm {name} ReLU (mean over seeds)",
            unit="%",
            digits=4,
        )
        for name in ARMS
    }
    numbers["difference"] = Number(
        value=arm.difference or 0.0, label="difference, before − after", unit="points", digits=2
    )
    numbers["low"] = Number(value=low, label="its 95 % interval: from", unit="points", digits=2)
    numbers["high"] = Number(value=high, label="its 95 % interval: to", unit="points", digits=2)
    numbers["margin"] = Number(
        value=margin or 0.0, label="margin below which a difference does not matter", unit="points"
    )
    numbers["verdict"] = Number(value=trial.verdict("before"), label="verdict on before against after")
    for name in ARMS:
        numbers[f"active_{name}"] = Number(
            value=float(evidence.active[name].mean()),
            label=f"values above 0 that enter ReLU, norm {name} it (mean over blocks and seeds)",
            unit="%",
        )
    return numbers


def _findings(values: Values) -> str:
    verdict = {
        "better": "before ReLU is **better** than after it here",
        "worse": "before ReLU is **worse** than after it here",
        "equivalent": "the two places are **equivalent** here: they differ by less than the margin",
        "undecided": "the verdict is **undecided**: these seeds neither show a difference nor rule one out",
    }.get(values["verdict"], f"the verdict is {values['verdict']}")
    return (
        f"Norm before ReLU reached {values['accuracy_before']:.2f} %, after ReLU {values['accuracy_after']:.2f} %;"
        f" {verdict} (95 % interval of the difference {signed(values['low'])} to {signed(values['high'])} points)."
        f" Of the values that enter ReLU, {values['active_before']:.0f} % are above 0 with the norm before it and"
        f" {values['active_after']:.0f} % with the norm after it. In the histograms"
        " (second figure) the norm's own output is the upper left panel and the lower right one."
    )


def signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _active_table(evidence: NormPositionCurves) -> Table:
    return Table(
        title="Values above 0 that enter each ReLU (%, mean over seeds)",
        columns=["norm", *(f"block {i + 1}" for i in range(BLOCKS))],
        rows=[[f"{arm} ReLU", *(f"{share:.1f}" for share in evidence.active[arm])] for arm in ARMS],
    )
