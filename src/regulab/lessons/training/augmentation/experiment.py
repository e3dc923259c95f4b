"""Augmentation: a few images made into many; what that does to the gap and to accuracy, and which rotations harm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regulab.data.augmentation import augment, columns_of, draw_epoch
from regulab.data.augmentation.drawing import OLDEST
from regulab.data.augmentation.operations.affine import ROTATE as ROTATION
from regulab.lessons.kit.directions import directions, interval_text
from regulab.lessons.kit.laboratory import Laboratory, Trial
from regulab.lessons.kit.lesson import Measured, Number, Table, Values
from regulab.statistics.intervals import PERCENT, POINTS
from regulab.techniques.augmentation import Augmentation
from regulab.training.setup import Run, Setup

FEW, TIMES = 100, 4  # images to train on; how many times more the reference has
BATCH = 32
BASE, ROTATE, BOTH, ANY = "none", "rotate", "rotate + shift", "any angle"
GENTLE = (ROTATE, BOTH)
MORE = f"{TIMES} × images"
EPOCHS_SHOWN = (1, 2, 3, 4)


@dataclass(frozen=True)
class AccuraciesAndViews:
    """Accuracies by arm, the reference last among ``train`` and ``test``; and images as training saw them."""

    train: Mapping[str, NDArray[np.float64]]  # (S,) percent
    test: Mapping[str, NDArray[np.float64]]  # (S,) percent
    validation: Mapping[str, NDArray[np.float64]]  # (epochs,) percent, means over the seeds
    verdicts: Mapping[str, str]
    originals: NDArray[np.float32]  # (M, H, W, C) in [0, 1]
    views: Mapping[str, NDArray[np.float32]]  # arm -> (epochs shown, M, H, W, C)
    angles: Mapping[str, NDArray[np.float32]]  # arm -> (epochs shown, M) degrees, counter-clockwise


def seen_in_training(setup: Setup, run: Run, epoch: int, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Training images ``(M, C, H, W)`` in [0, 1] as a run with augmentation saw them in an epoch, and their angles.

    From the draws of the run's own stream; before normalization. ``indices`` are places in the training part.
    The angles ``(M,)`` are in degrees, counter-clockwise.
    """
    chosen = torch.tensor(indices)
    unit = setup.preprocessing.to_unit(setup.images.pixels.cpu()[chosen])
    settings = next(t for t in run.techniques if isinstance(t, Augmentation))
    drawn = draw_epoch(setup.streams(run.seed, run.arm), epoch, len(setup.images), columns_of([settings]))
    draws = {stream: torch.from_numpy(table)[chosen] for stream, table in drawn.items()}
    assert isinstance(settings.rotate, float)
    angles = (2 * draws[OLDEST][:, ROTATION] - 1) * settings.rotate
    return augment(unit, draws, settings.operations(), torch.zeros(())), angles


def measure(laboratory: Laboratory) -> Measured:
    width = laboratory.splits().train.pixels.shape[2]
    shift = max(1, round(width / 10))
    epochs, seeds = (80, 10) if laboratory.embedded else (48, 7)
    arms: dict[str, dict[str, object]] = {
        BASE: {},
        ROTATE: {"augmentation": 15},
        BOTH: {"augmentation": {"rotate": 15, "translate": shift}},
        ANY: {"augmentation": 180},
    }
    trial = _train(laboratory, "augmentation", FEW, epochs, seeds, arms)
    reference = _train(laboratory, "augmentation-more", TIMES * FEW, epochs // TIMES, seeds, {MORE: {}})
    train = {arm: trial.results(arm, "train_accuracy") for arm in arms}
    test = {arm: trial.results(arm, "test_accuracy") for arm in arms}
    train[MORE], test[MORE] = (reference.results(MORE, f"{part}_accuracy") for part in ("train", "test"))
    gaps = {arm: train[arm] - test[arm] for arm in train}
    verdicts = {arm: trial.verdict(arm) for arm in (*GENTLE, ANY)}
    changes = directions({arm: gaps[arm] - gaps[BASE] for arm in GENTLE})
    more = directions({MORE: test[MORE] - test[BASE]})[MORE]
    numbers = {
        "gap_none": Number(value=gaps[BASE].mean(), label="gap without augmentation", unit="points"),
        **{
            f"gap_{key}": Number(value=gaps[arm].mean(), label=f"gap with {arm}", unit="points")
            for key, arm in (("rotate", ROTATE), ("both", BOTH), ("any", ANY))
        },
        "gap_change_rotate": Number(value=changes[ROTATE], label=f"the gap with {ROTATE}, against none"),
        "gap_change_both": Number(value=changes[BOTH], label=f"the gap with {BOTH}, against none"),
        "verdict_rotate": Number(value=verdicts[ROTATE], label=f"test accuracy with {ROTATE}, against none"),
        "verdict_both": Number(value=verdicts[BOTH], label=f"test accuracy with {BOTH}, against none"),
        "verdict_any": Number(value=verdicts[ANY], label=f"test accuracy with {ANY}, against none"),
        "more_images": Number(value=more, label=f"test accuracy with {TIMES} times the images, against none"),
        "test_none": Number(value=test[BASE].mean(), label="test accuracy without augmentation", unit="%"),
        "test_both": Number(value=test[BOTH].mean(), label=f"test accuracy with {BOTH}", unit="%"),
        "test_any": Number(value=test[ANY].mean(), label=f"test accuracy with {ANY}", unit="%"),
        "test_more": Number(
            value=test[MORE].mean(), label=f"test accuracy with {TIMES} times the images", unit="%"
        ),
    }
    return Measured(
        numbers=numbers,
        evidence=_evidence(trial, train, test, verdicts),
        findings=_findings({key: number.value for key, number in numbers.items()}),
        conditions=(
            f"{FEW} training images of {laboratory.dataset}, cnn10k without dropout, {epochs} epochs of batches of"
            f" {BATCH}, {seeds} seeds; rotations up to ±15° (any angle: ±180°), shifts up to ±{shift} px."
            f" {TIMES} times the images: {TIMES * FEW} for {epochs // TIMES} epochs, the same number of steps."
            " Verdicts: paired sign-flip tests over the seeds, adjusted over the arms."
        ),
        tables=[_table(train, test, {BASE: "baseline", **verdicts, MORE: more})],
    )


def _train(
    laboratory: Laboratory,
    name: str,
    images: int,
    epochs: int,
    seeds: int,
    arms: Mapping[str, Mapping[str, object]],
) -> Trial:
    return laboratory.train(
        {
            "name": name,
            "model": {"dropout": 0},
            "data": {"train_images": images},
            "protocol": {"validation": None if laboratory.embedded else 500},
            "train": {"epochs": epochs, "batch_size": BATCH},
            "seeds": seeds,
            "arms": arms,
        }
    )


def _evidence(
    trial: Trial,
    train: Mapping[str, NDArray[np.float64]],
    test: Mapping[str, NDArray[np.float64]],
    verdicts: Mapping[str, str],
) -> AccuraciesAndViews:
    labels = trial.splits.train.labels
    classes = len(trial.splits.class_names)
    indices = [int(np.flatnonzero(labels == wanted % classes)[0]) for wanted in (2, 4, 6)]
    seen = {
        arm: [seen_in_training(trial.setup, trial.run(arm, 0), epoch, indices) for epoch in EPOCHS_SHOWN]
        for arm in (BOTH, ANY)
    }
    return AccuraciesAndViews(
        train=train,
        test=test,
        validation={arm: np.nanmean(trial.history(arm, "val_accuracy"), axis=0) for arm in trial.study.arms},
        verdicts=verdicts,
        originals=trial.splits.train.pixels[indices].astype(np.float32) / np.float32(255),
        views={arm: np.stack([x.permute(0, 2, 3, 1).numpy() for x, _ in all_]) for arm, all_ in seen.items()},
        angles={arm: np.stack([degrees.numpy() for _, degrees in all_]) for arm, all_ in seen.items()},
    )


def _table(
    train: Mapping[str, NDArray[np.float64]],
    test: Mapping[str, NDArray[np.float64]],
    verdicts: Mapping[str, str],
) -> Table:
    rows = [
        [
            arm,
            f"{train[arm].mean():.1f}",
            interval_text(test[arm], bounds=PERCENT),
            interval_text(train[arm] - test[arm], bounds=POINTS),
            verdicts[arm],
        ]
        for arm in train
    ]
    return Table(
        title="Accuracies in percent: means over the seeds with 95 % intervals",
        columns=["arm", "training", "test", "gap", "test accuracy against none"],
        rows=rows,
    )


def _findings(values: Values) -> str:
    gained, worth = values["test_both"] - values["test_none"], values["test_more"] - values["test_none"]
    doubt = (
        ", where undecided means that so few seeds could differ as much by luck"
        if "undecided" in (values["verdict_rotate"], values["verdict_both"])
        else ""
    )
    fit, fit_any = (values[f"gap_{arm}"] + values[f"test_{arm}"] for arm in ("none", "any"))
    less = (
        f" and also fits the unturned training images less well ({fit_any:.1f} %), so turns that change the class need"
        " not be the only reason"
        if fit_any < fit
        else ""
    )
    harm = {
        "worse": f"is worse than no augmentation{less}",
        "better": "is better than no augmentation, so here such turns do keep the class",
    }.get(values["verdict_any"], f"is {values['verdict_any']} against no augmentation")
    return (
        f"Without augmentation the network is {values['gap_none']:.1f} points better on the images it trained on"
        f" than on new ones; with {ROTATE} the gap is {values['gap_rotate']:.1f} points"
        f" ({values['gap_change_rotate']}), with {BOTH} {values['gap_both']:.1f} ({values['gap_change_both']})."
        f" On test accuracy the verdict is {values['verdict_rotate']} for {ROTATE} and {values['verdict_both']}"
        f" for {BOTH}{doubt}. {TIMES} times as many real images change test accuracy by {worth:+.1f} points"
        f" ({values['more_images']}), {BOTH} by {gained:+.1f}. Turning by {ANY} ({values['test_any']:.1f} %) {harm}."
    )
