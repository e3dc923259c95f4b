"""The loss around trained networks, with and without penalties and batch norm, along the same random directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulab.evaluation.surface import filter_normalized_direction, losses_along
from regulab.lessons.kit.laboratory import Laboratory, Trial
from regulab.lessons.kit.lesson import Measured, Number, Values
from regulab.statistics.holm import holm
from regulab.statistics.sign_flip import two_sided_p
from regulab.streams import Streams

ARMS: Mapping[str, Mapping[str, Any]] = {
    "batch norm": {},
    "L1": {"l1": 1e-3},
    "L2": {"l2": 1e-2},
    "no norm": {"norm": "none"},
}
BATCH = "batch norm, batch statistics"  # the first arm again, evaluated another way
SEEDS, ALPHA = 8, 0.05  # with four comparisons p can pass under α from 8 pairs on: 4·2/2⁸
DISTANCE = 0.5  # where flatness is measured: half the length of every filter
LINE, PLANE = (
    t * np.abs(t) ** 0.5 for t in (np.linspace(-1, 1, 23), np.linspace(-1, 1, 17))
)  # denser about 0
PARTS = ("train", "validation")
LEARNED = 50  # percent of the training images; below, a network has hardly been trained
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SurfaceLosses:
    """Losses by surface: along ``LINE`` for each part ``(S, points)``, and on ``PLANE``² for the first seed."""

    lines: Mapping[str, Mapping[str, Floats]]
    planes: Mapping[str, Floats]


def rise(at_distance: Floats, at_centre: float) -> float:
    """R: the mean of the losses at ± the distance along each direction, less the loss at the weights themselves."""
    return float(np.mean(at_distance) - at_centre)


def compare(rises: Mapping[str, Floats], comparisons: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """``flatter``, ``sharper`` or ``undecided`` by comparison: the first surface of each against the second.

    ``rises`` are paired by seed, ``(S,)``. Exact sign-flip tests, Holm over the comparisons, α = ``ALPHA``.
    """
    differences = {name: rises[first] - rises[second] for name, (first, second) in comparisons.items()}
    adjusted = holm([two_sided_p(d, np.random.default_rng(0)) for d in differences.values()])
    return {
        name: "undecided" if p >= ALPHA else "flatter" if d.mean() < 0 else "sharper"
        for (name, d), p in zip(differences.items(), adjusted, strict=True)
    }


def measure(laboratory: Laboratory) -> Measured:
    small = laboratory.embedded
    trial = laboratory.train(
        {
            "name": "network-surface",
            "model": {"name": "deep", "depth": 3, "dropout": 0},
            "data": {"train_images": None if small else 800},
            "protocol": {"validation": None if small else 500},
            "train": {
                "epochs": 12 if small else 6,
                "batch_size": 64 if small else 16,
                "schedule": {"name": "one_cycle", "max_lr": 0.05},
            },
            "seeds": SEEDS,
            "arms": ARMS,
        }
    )
    images = 256 if small else 128
    surfaces = {**{arm: (arm, False) for arm in ARMS}, BATCH: (next(iter(ARMS)), True)}
    lines: dict[str, dict[str, Floats]] = {}
    planes: dict[str, Floats] = {}
    rises: dict[str, dict[str, Floats]] = {part: {} for part in PARTS}
    for name, (arm, batch) in surfaces.items():
        seen = [_losses_along_lines(trial, arm, seed, images, batch) for seed in trial.study.seeds]
        lines[name] = {part: np.stack([losses[part][0] for losses in seen]) for part in PARTS}
        for part in PARTS:
            rises[part][name] = np.array([losses[part][1] for losses in seen])
        if not batch:
            planes[name] = _plane(trial, arm, trial.study.seeds[0], images)
    numbers = _numbers(trial, rises)
    return Measured(
        numbers=numbers,
        evidence=SurfaceLosses(lines, planes),
        conditions=(
            f"deep with 3 blocks on {len(trial.setup.images):,} training images of {laboratory.dataset},"
            f" {trial.study.train.epochs} epochs, {SEEDS} seeds, batch norm in all arms but “no norm”; L1"
            f" λ = {ARMS['L1']['l1']:g}, L2 λ = {ARMS['L2']['l2']:g}. Losses over the first {images}"
            " images of each part, in inference mode with running averages unless it says batch"
            " statistics."
        ),
        findings=_findings({key: number.value for key, number in numbers.items()}),
    )


def _directions(trial: Trial, arm: str, seed: int) -> list[dict[str, Any]]:
    streams = Streams(trial.study.stream_key, seed)
    module = trial.module(arm, seed)
    return [
        filter_normalized_direction(module, partial(streams.generator, "direction", epoch=which))
        for which in (0, 1)
    ]


def _losses_along_lines(
    trial: Trial, arm: str, seed: int, images: int, batch: bool
) -> dict[str, tuple[Floats, float]]:
    """By part: the losses along the first direction, and the rise R over both."""
    module, directions = trial.module(arm, seed), _directions(trial, arm, seed)
    far = [[DISTANCE, 0.0], [-DISTANCE, 0.0], [0.0, DISTANCE], [0.0, -DISTANCE]]
    steps = np.concatenate([np.stack([LINE, np.zeros_like(LINE)], axis=1), far])
    by_part = {}
    for part in PARTS:
        x, labels = trial.images(part, images)
        losses = losses_along(module, directions, steps, x, labels, batch_statistics=batch)
        line, around = losses[: len(LINE)], losses[len(LINE) :]
        by_part[part] = line, rise(around, line[len(LINE) // 2])
    return by_part


def _plane(trial: Trial, arm: str, seed: int, images: int) -> Floats:
    """Training loss ``(β, α)`` on the grid."""
    x, labels = trial.images("train", images)
    grid = np.stack(np.meshgrid(PLANE, PLANE), axis=-1).reshape(-1, 2)
    losses = losses_along(trial.module(arm, seed), _directions(trial, arm, seed), grid, x, labels)
    return losses.reshape(len(PLANE), len(PLANE))


KEYS = {"batch norm": "batch_norm", "L1": "l1", "L2": "l2", "no norm": "no_norm", BATCH: "batch"}
COMPARED = {
    "L1 against batch norm": ("L1", "batch norm"),
    "L2 against batch norm": ("L2", "batch norm"),
    "no norm against batch norm": ("no norm", "batch norm"),
    "no norm against batch norm with batch statistics": ("no norm", BATCH),
}
VERDICTS = dict(zip(COMPARED, ("l1", "l2", "no_norm", "no_norm_batch"), strict=True))


def _numbers(trial: Trial, rises: Mapping[str, Mapping[str, Floats]]) -> dict[str, Number]:
    numbers: dict[str, Number] = {}
    for part in PARTS:
        where = "training" if part == "train" else part
        for name, values in rises[part].items():
            numbers[f"rise_{part}_{KEYS[name]}"] = Number(
                value=float(values.mean()),
                label=f"rise of the {where} loss at {DISTANCE:g} of each filter, {name}, mean over seeds",
                unit="nats",
            )
        for name, verdict in compare(rises[part], COMPARED).items():
            numbers[f"verdict_{part}_{VERDICTS[name]}"] = Number(
                value=verdict, label=f"{name}, by the {where} loss"
            )
    for arm in ARMS:
        numbers[f"loss_{KEYS[arm]}"] = Number(
            value=float(np.nanmean(trial.results(arm, "train_loss"))),
            label=f"training loss of the final weights, {arm}, mean over seeds",
            unit="nats",
        )
        numbers[f"lowest_{KEYS[arm]}"] = Number(
            value=float(np.nanmin(trial.results(arm, "train_accuracy"))),
            label=f"training accuracy of the final weights, {arm}, lowest of the seeds",
            unit="%",
        )
    return numbers


def _findings(v: Values) -> str:
    untrained = [arm for arm in ARMS if v[f"lowest_{KEYS[arm]}"] < LEARNED]
    caution = (
        f" Take care: a seed of {' and of '.join(untrained)} fits fewer than {LEARNED} % of its training"
        " images, and a network that has learned little is flat for no good reason."
    )
    sentences = (
        f"A random step of {DISTANCE:g} of each filter's length raised the training loss by"
        f" {v['rise_train_batch_norm']:.2g} nats with batch norm, {v['rise_train_l1']:.2g} with L1 added"
        f" (by the test: {v['verdict_train_l1']}), {v['rise_train_l2']:.2g} with L2"
        f" ({v['verdict_train_l2']}) and {v['rise_train_no_norm']:.2g} without a norm"
        f" ({v['verdict_train_no_norm']}). With the statistics of the batch, as in training, batch norm's"
        f" own rise is {v['rise_train_batch']:.2g}; against that, no norm is"
        f" {v['verdict_train_no_norm_batch']}. The arms do not start from the same loss: a lower curve is"
        " a better fit, a wider one a flatter minimum."
    )
    return sentences + (caution if untrained else "")
