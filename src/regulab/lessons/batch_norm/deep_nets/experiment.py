"""Plain nets of growing depth with and without batch norm: epochs to 95 %, and the learning rates they can use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulab.lessons.kit.laboratory import Laboratory
from regulab.lessons.kit.lesson import Measured, Number, Table, Values
from regulab.lessons.kit.reached_for_good import reached_for_good
from regulab.lessons.kit.small_subsets import few_images

DEPTHS = (2, 4, 8, 12)
RATES = (0.01, 0.04, 0.16, 0.64)
NORMS = {"batch": "with batch norm", "none": "without"}
EPOCHS = 12
TARGET = 95.0  # percent of the training images of an epoch, as they are trained on
GIVEN_UP_AT, GIVEN_UP_BELOW = 4, 30.0  # epoch, percent: such runs are stopped, to keep the lesson short


@dataclass(frozen=True)
class Grid:
    """What the nets of one kind did: ``epochs`` and ``accuracy`` ``(depths, rates, S)``.

    ``epochs`` to the target for good, EPOCHS + 1 where it was not reached; ``accuracy`` is the highest of an epoch, in
    percent.
    """

    epochs: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """``(depths, rates)``: every seed reached the target."""
        every_seed: NDArray[np.bool_] = np.all(self.epochs <= EPOCHS, axis=-1)
        return every_seed

    @property
    def largest(self) -> NDArray[np.float64]:
        """``(depths,)``: the largest usable rate, 0 where there is none."""
        rates: NDArray[np.float64] = np.where(self.usable, RATES, 0.0).max(1)
        return rates

    @property
    def best(self) -> NDArray[np.float64]:
        """``(depths, S)``: epochs to the target at the rate that needs the fewest on average."""
        chosen = self.epochs.mean(-1).argmin(1)
        best: NDArray[np.float64] = self.epochs[np.arange(len(chosen)), chosen]
        return best


def measure(laboratory: Laboratory) -> Measured:
    laboratory = laboratory.embedded_unless_asked()
    seeds = 2 if laboratory.embedded else 1
    grids = {norm: _grid(laboratory, norm, seeds) for norm in NORMS}
    numbers: dict[str, Number] = {}
    for row, depth in enumerate(DEPTHS):
        for norm, name in NORMS.items():
            numbers[f"epochs_{norm}_{depth}"] = Number(
                value=float(grids[norm].best[row].mean()),
                label=(
                    f"epochs to {TARGET:g} %, depth {depth}, {name} (at the best rate"
                    f"{f'; not reached counts as {EPOCHS + 1}' if grids[norm].best[row].max() > EPOCHS else ''})"
                ),
            )
    for row, depth in enumerate(DEPTHS):
        for norm, name in NORMS.items():
            numbers[f"rate_{norm}_{depth}"] = Number(
                value=float(grids[norm].largest[row]),
                label=f"largest usable learning rate, depth {depth}, {name} (0: none of the grid)",
            )
    values = {key: number.value for key, number in numbers.items()}
    return Measured(
        numbers=numbers,
        evidence=grids,
        findings=_findings(values),
        conditions=(
            f"{laboratory.dataset}: {_images(laboratory)} training images in batches of 32, plain nets of 16 channels,"
            f" SGD with momentum 0.9 and a constant rate, {seeds} seed{'s' if seeds > 1 else ''}, at"
            f" most {EPOCHS} epochs. Accuracy is the mean over the batches of an epoch as they are trained on. Runs"
            f" still below {GIVEN_UP_BELOW:g} % in epoch {GIVEN_UP_AT} are given up; what does not reach {TARGET:g} %"
            f" for good counts as {EPOCHS + 1} epochs."
        ),
        tables=[_table(grids)],
    )


def _images(laboratory: Laboratory) -> str:
    limits = few_images(laboratory, 1000)
    return f"{limits.get('data', {}).get('train_images') or len(laboratory.splits().train):,}"


def _grid(laboratory: Laboratory, norm: str, seeds: int) -> Grid:
    laboratory.progress.message(f"{NORMS[norm]}: depths {len(DEPTHS)} × rates {len(RATES)} × seeds {seeds}")
    results = [[_train(laboratory, norm, depth, rate, seeds) for rate in RATES] for depth in DEPTHS]
    epochs, accuracy = np.moveaxis(np.array(results), 2, 0)
    return Grid(epochs, accuracy)


def _train(
    laboratory: Laboratory, norm: str, depth: int, rate: float, seeds: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Epochs to the target and the highest accuracy of an epoch, each ``(S,)``."""
    trainer = laboratory.fleet(
        {
            "name": "deep-nets",
            "model": {"name": "deep", "depth": depth, "norm": norm, "dropout": 0},
            "train": {
                "epochs": EPOCHS,
                "batch_size": 32,
                "optimizer": {"lr": rate},
                "schedule": "constant",
            },
            "seeds": seeds,
            "arms": {norm: {}},
            **few_images(laboratory, 1000),
        }
    ).trainer
    history = np.zeros((0, seeds))
    for epoch in range(1, EPOCHS + 1):
        history = np.vstack([history, trainer.train_epoch(epoch).accuracy.cpu().numpy()])
        if epoch >= GIVEN_UP_AT and np.all(history.max(0) < GIVEN_UP_BELOW):
            break
    return epochs_to(TARGET, history), history.max(0)


def epochs_to(target: float, history: NDArray[np.float64]) -> NDArray[np.float64]:
    """The epoch from which each run of ``history`` ``(epochs, S)`` stays at ``target`` or above; else EPOCHS + 1."""
    epochs = reached_for_good(history.transpose() >= target)
    return np.where(epochs <= len(history), epochs, EPOCHS + 1.0)


def faster_at_each_depth(values: Values) -> list[bool]:
    """Depth by depth: fewer epochs with batch norm."""
    return [values[f"epochs_batch_{depth}"] < values[f"epochs_none_{depth}"] for depth in DEPTHS]


def larger_rate_at_each_depth(values: Values) -> list[bool]:
    """Depth by depth: a larger usable rate with batch norm."""
    return [values[f"rate_batch_{depth}"] > values[f"rate_none_{depth}"] for depth in DEPTHS]


def _findings(values: Values) -> str:
    faster = [str(depth) for depth, is_so in zip(DEPTHS, faster_at_each_depth(values), strict=True) if is_so]
    larger = [
        str(depth) for depth, is_so in zip(DEPTHS, larger_rate_at_each_depth(values), strict=True) if is_so
    ]
    deepest, shallow = DEPTHS[-1], DEPTHS[0]
    return (
        f"Batch norm needed fewer epochs to {TARGET:g} % at {_depths(faster)}, and it had the larger usable learning"
        f" rate at {_depths(larger)}. With {shallow} layers the nets took"
        f" {_epochs(values[f'epochs_batch_{shallow}'])} with it and"
        f" {_epochs(values[f'epochs_none_{shallow}'])} without; with {deepest} layers,"
        f" {_epochs(values[f'epochs_batch_{deepest}'])} and {_epochs(values[f'epochs_none_{deepest}'])}. Filled dots on"
        " the right of the first figure are the rates at which every seed got there."
    )


def _depths(depths: list[str]) -> str:
    if len(depths) == len(DEPTHS):
        return "every depth"
    return f"depth {', '.join(depths)}" if depths else "no depth"


def _epochs(mean: float) -> str:
    return f"{mean:.1f} epochs" if mean <= EPOCHS else f"more than {EPOCHS} epochs in some or all seeds"


def _table(grids: Mapping[str, Grid]) -> Table:
    rows = [
        [
            f"{depth}, {name}",
            *(f"{accuracy:.0f} %" for accuracy in grids[norm].accuracy[row].mean(-1)),
        ]
        for row, depth in enumerate(DEPTHS)
        for norm, name in NORMS.items()
    ]
    return Table(
        title="Highest training accuracy of an epoch, by learning rate (mean over seeds; stopped at the target)",
        columns=["depth", *(f"{rate:g}" for rate in RATES)],
        rows=rows,
    )
