"""Internal covariate shift with and without batch norm, and with noise that brings it back; channels at ±1, ±1000."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from regulab.lessons.batch_norm.covariate_shift.channel_scales import (
    NETWORKS,
    PLACES,
    SCALES,
    Scales,
    measure_scales,
)
from regulab.lessons.kit.activations import outputs
from regulab.lessons.kit.laboratory import Laboratory, SteeredFleet
from regulab.lessons.kit.lesson import Measured, Number, Table, Values
from regulab.lessons.kit.reached_for_good import reached_for_good
from regulab.lessons.kit.small_subsets import few_images

NETS = {"none": "no norm", "batch": "batch norm", "noisy_batch": "batch norm, then noise"}
DEPTH, LAYER = 6, "blocks.3.norm"  # what enters the ReLU of the fourth of six blocks
RATES = (0.03, 0.1)
EPOCHS, BATCH = 20, 128
PROBED = 256  # images
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
TARGETS = (1.0, 0.2)  # nats of training loss, the mean of an epoch: one early, one late


@dataclass(frozen=True)
class WatchedNet:
    """A net at one learning rate: ``loss`` ``(S, epochs)``, ``quantiles`` ``(S, probes, C, 5)``, ``deviation``

    ``(S, probes, C)``, ``steps`` ``(targets, S)`` (one epoch more than there were where a target was not reached).
    """

    loss: NDArray[np.float64]
    quantiles: NDArray[np.float64]
    deviation: NDArray[np.float64]
    steps: NDArray[np.float64]


@dataclass(frozen=True)
class WatchedNets:
    """Nets by norm: at the first rate, and at each one's best; ``per_epoch`` steps an epoch."""

    same: Mapping[str, WatchedNet]
    best: Mapping[str, WatchedNet]
    rate: Mapping[str, float]
    per_epoch: int
    scales: Scales


def shift(quantiles: NDArray[np.float64], deviation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Δ ``(…, T − 1)`` of ``quantiles`` ``(…, T, C, 5)`` and ``deviation`` ``(…, T, C)``: in deviations, from probe

    to probe. Equal for quantiles and deviations that are all multiplied by one number, or all moved by one.
    """
    moved = np.abs(np.diff(quantiles, axis=-3)).mean(-1)
    in_deviations: NDArray[np.float64] = (moved / (deviation[..., :-1, :] + 1e-12)).mean(-1)
    return in_deviations


def measure(laboratory: Laboratory) -> Measured:
    watched = {(norm, rate): _watch(laboratory, norm, rate) for norm in NETS for rate in RATES}
    rate = {norm: min(RATES, key=lambda rate: watched[norm, rate][0].steps.mean()) for norm in NETS}
    evidence = WatchedNets(
        same={norm: watched[norm, RATES[0]][0] for norm in NETS},
        best={norm: watched[norm, rate[norm]][0] for norm in NETS},
        rate=rate,
        per_epoch=watched["none", RATES[0]][1],
        scales=measure_scales(),
    )
    numbers = _numbers(evidence)
    return Measured(
        numbers=numbers,
        evidence=evidence,
        findings=_findings({key: number.value for key, number in numbers.items()}),
        conditions=(
            f"{laboratory.dataset}: plain nets of {DEPTH} layers, {_seeds(laboratory)} seeds, {EPOCHS} epochs of"
            f" {evidence.per_epoch} steps, batches of {BATCH}, SGD with momentum 0.9 at constant rates"
            f" {RATES[0]:g} and {RATES[1]:g}; probes of {PROBED} training images. Nets with noise train by the plain"
            " loop, whose draws are keyed by seed and epoch; the others in fleets. Channels: "
            f"{NETWORKS} networks of 16 hidden units on two made-up inputs, 400 steps at the best of eight rates."
        ),
        tables=[_rates_table(watched), _scales_table(evidence.scales)],
    )


def _seeds(laboratory: Laboratory) -> int:
    return 3 if laboratory.embedded else 2


def _watch(laboratory: Laboratory, norm: str, rate: float) -> tuple[WatchedNet, int]:
    """A net at one rate, all seeds; and the steps of an epoch."""
    seeds = range(_seeds(laboratory))
    laboratory.progress.message(f"{NETS[norm]}: rate {rate:g} × seeds {len(seeds)} × epochs {EPOCHS}")
    alone = norm == "noisy_batch"  # the plain loop takes one run at a time
    groups = [[seed] for seed in seeds] if alone else [list(seeds)]
    parts = [_watch_fleet(_fleet(laboratory, norm, rate, group)) for group in groups]
    loss, quantiles, deviation = (np.concatenate([part[k] for part in parts]) for k in range(3))
    per_epoch = parts[0][3]
    epochs = reached_for_good(loss <= np.array(TARGETS)[:, None, None])
    return WatchedNet(loss, quantiles, deviation, epochs * per_epoch), per_epoch


def _fleet(laboratory: Laboratory, norm: str, rate: float, seeds: list[int]) -> SteeredFleet:
    return laboratory.fleet(
        {
            "name": "covariate-shift",
            "model": {"name": "deep", "depth": DEPTH, "norm": norm, "dropout": 0},
            "train": {
                "epochs": EPOCHS,
                "batch_size": BATCH,
                "optimizer": {"lr": rate},
                "schedule": "constant",
                "engine": "plain" if norm == "noisy_batch" else "fleet",
            },
            "seeds": seeds,
            "arms": {norm: {}},
            **few_images(laboratory, 1000),
        }
    )


Parts = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], int]


def _watch_fleet(fleet: SteeredFleet) -> Parts:
    """Loss ``(R, epochs)``, quantiles ``(R, probes, C, 5)``, deviations ``(R, probes, C)``, steps an epoch."""
    x, _ = fleet.images("train", PROBED)
    runs = range(len(fleet.trainer.runs))
    losses, probes = [], []
    for epoch in range(1, EPOCHS + 1):
        losses.append(fleet.trainer.train_epoch(epoch).loss.cpu().numpy())
        probes.append([_probe(fleet, position, x, epoch) for position in runs])
    quantiles = np.array([[probe[0] for probe in row] for row in probes]).swapaxes(0, 1)
    deviation = np.array([[probe[1] for probe in row] for row in probes]).swapaxes(0, 1)
    return np.array(losses).T, quantiles, deviation, max(1, len(fleet.splits.train) // BATCH)


def _probe(
    fleet: SteeredFleet, position: int, x: torch.Tensor, epoch: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quantiles ``(C, 5)`` and deviations ``(C,)`` of what enters the ReLU, in training mode."""
    module: nn.Module = fleet.module(position).train()
    streams = fleet.setup.streams(fleet.trainer.runs[position].seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(streams.generator("probe", epoch=epoch).bit_generator.random_raw() >> 1))
        values = outputs(module, [LAYER], x)[LAYER].transpose(0, 1).flatten(1).double().numpy()
    return np.quantile(values, QUANTILES, axis=1).T, values.std(1)


def _numbers(evidence: WatchedNets) -> dict[str, Number]:
    numbers = {}
    for norm, name in NETS.items():
        net = evidence.same[norm]
        numbers[f"shift_{norm}"] = Number(
            value=float(shift(net.quantiles, net.deviation).mean()),
            label=f"shift between probes, {name} (rate {RATES[0]:g})",
            unit="deviations",
        )
    for row, target in enumerate(TARGETS):
        for norm, name in NETS.items():
            numbers[f"steps_{norm}_{target:g}"] = Number(
                value=float(evidence.best[norm].steps[row].mean()),
                label=(
                    f"steps to a training loss of {target:g}, {name} (at its better rate, {evidence.rate[norm]:g}"
                    f"{_not_reached(evidence.best[norm].steps[row], evidence.per_epoch)})"
                ),
            )
    numbers["limit"] = Number(
        value=EPOCHS * evidence.per_epoch, label="steps trained (more than these: a loss not reached)"
    )
    for place in PLACES:
        name = "no norm" if place == "none" else f"norm {place}"
        numbers[f"scales_{place}"] = Number(
            value=float(evidence.scales.accuracy[place].mean()),
            label=f"channels at ±{SCALES[0]:g} and ±{SCALES[1]:g}: accuracy on fresh points, {name}",
            unit="%",
        )
    return numbers


def _not_reached(steps: NDArray[np.float64], per_epoch: int) -> str:
    """What steps ``(S,)`` stand for where a seed did not reach the loss; else nothing."""
    return f"; not reached counts as {(EPOCHS + 1) * per_epoch}" if steps.max() > EPOCHS * per_epoch else ""


def advantage_kept(values: Values) -> dict[float, float]:
    """By target: the part of the steps saved that stays under noise.

    Left out are targets at which batch norm saves no steps, and those that neither of the other two nets reaches.
    """
    kept = {}
    for target in TARGETS:
        none, batch, noise = (values[f"steps_{norm}_{target:g}"] for norm in NETS)
        if batch < none and min(none, noise) <= values["limit"]:
            kept[target] = float((none - noise) / (none - batch))
    return kept


def _findings(values: Values) -> str:
    back = (
        "brought it back" if values["shift_noisy_batch"] >= values["shift_none"] else "did not bring it back"
    )
    kept = advantage_kept(values)
    parts = " ".join(
        f"To a loss of {target:g} it took {steps_text(values, 'none', target)} without a norm,"
        f" {steps_text(values, 'batch', target)} with it and"
        f" {steps_text(values, 'noisy_batch', target)} with noise behind it"
        + (f": {max(0.0, kept[target]) * 100:.0f} % of the advantage stayed" if target in kept else "")
        + (
            f" (a loss not reached counted as {EPOCHS + 1} epochs)."
            if target in kept and values[f"steps_none_{target:g}"] > values["limit"]
            else "."
        )
        for target in TARGETS
    )
    return (
        f"From probe to probe the inputs of the middle layer moved by {values['shift_none']:.2f} deviations without a"
        f" norm and by {values['shift_batch']:.2f} with batch norm; noise {back} ({values['shift_noisy_batch']:.2f})."
        f" {parts} With channels at ±{SCALES[0]:g} and ±{SCALES[1]:g} a small network got"
        f" {values['scales_none']:.0f} % of two classes right, with a norm after the layer"
        f" {values['scales_after the layer']:.0f} %, with one on the channels"
        f" {values['scales_on the channels']:.0f} %."
    )


def steps_text(values: Values, norm: str, target: float) -> str:
    steps = values[f"steps_{norm}_{target:g}"]
    return f"{steps:.0f} steps" if steps <= values["limit"] else f"more than {values['limit']:.0f} steps"


def _rates_table(watched: Mapping[tuple[str, float], tuple[WatchedNet, int]]) -> Table:
    rows = [
        [
            f"{NETS[norm]}, rate {rate:g}",
            f"{shift(net.quantiles, net.deviation).mean():.3f}",
            *(
                f"{steps:.0f}" if steps <= EPOCHS * per_epoch else f"more than {EPOCHS * per_epoch}"
                for steps in net.steps.mean(1)
            ),
            f"{net.loss[:, -1].mean():.3f}",
        ]
        for (norm, rate), (net, per_epoch) in watched.items()
    ]
    return Table(
        title=f"Both learning rates (means over seeds; a loss never reached counts as {EPOCHS + 1} epochs)",
        columns=[
            "net",
            "shift (deviations)",
            *(f"steps to {target:g}" for target in TARGETS),
            "loss of the last epoch",
        ],
        rows=rows,
    )


def _scales_table(scales: Scales) -> Table:
    rows = [
        [
            "none" if place == "none" else place,
            f"{scales.rate[place]:g}",
            f"{scales.accuracy[place].mean():.1f}",
            f"{scales.accuracy[place].min():.1f} to {scales.accuracy[place].max():.1f}",
        ]
        for place in PLACES
    ]
    return Table(
        title=f"Channels at ±{SCALES[0]:g} and ±{SCALES[1]:g}: accuracy on fresh points (%)",
        columns=["norm", "best rate", "mean over seeds", "lowest to highest"],
        rows=rows,
    )
