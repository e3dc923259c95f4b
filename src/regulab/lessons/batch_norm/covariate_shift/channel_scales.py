"""Two channels at scales ±1 and ±1000: what a small network makes of them, with and without batch norm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from regulab.streams import Streams

SCALES = (1.0, 1000.0)
PLACES = ("none", "after the layer", "on the channels")
RATES = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
NETWORKS, POINTS, HIDDEN, STEPS, GRID = 5, 256, 16, 400, 41


@dataclass(frozen=True)
class Scales:
    """``accuracy`` ``(S,)`` in percent on fresh points at each place's best rate; ``rate`` that rate.

    ``maps`` ``(GRID, GRID)``: the probability of class 1 over both channels, −1 to 1 of their scales, for the first
    seed; rows are the second channel. ``points`` ``(N, 2)`` and ``labels`` ``(N,)`` are that seed's.
    """

    accuracy: Mapping[str, NDArray[np.float64]]
    rate: Mapping[str, float]
    maps: Mapping[str, NDArray[np.float64]]
    points: NDArray[np.float64]
    labels: NDArray[np.int64]


def standardized(x: Tensor, like: Tensor | None = None) -> Tensor:
    """``x`` ``(R, N, C)`` with mean 0 and variance 1 over N, by the statistics of ``like`` or its own."""
    source = x if like is None else like
    variance = source.var(1, unbiased=False, keepdim=True)
    return (x - source.mean(1, keepdim=True)) / (variance + 1e-5).sqrt()


def forward(weights: list[Tensor], x: Tensor, place: str, like: Tensor) -> Tensor:
    """Logits ``(R, N)`` of R networks 2 → HIDDEN → ReLU → 1 on ``x`` ``(R, N, 2)``.

    Where there is a norm it takes its statistics from the points ``like`` ``(R, M, 2)``.
    """
    w1, b1, w2, b2 = weights
    if place == "on the channels":
        x, like = standardized(x, like), standardized(like)
    z, z_like = torch.baddbmm(b1, x, w1), torch.baddbmm(b1, like, w1)
    if place == "after the layer":
        z = standardized(z, z_like)
    return torch.baddbmm(b2, F.relu(z), w2).squeeze(2)


def _sample(seed: int, purpose: str) -> tuple[Tensor, Tensor]:
    """``(N, 2)`` points, uniform, and the class of each: whether the two channels have equal signs."""
    unit = Streams("channel-scales", seed).generator(purpose).uniform(-1, 1, (POINTS, 2))
    points = torch.from_numpy(unit * np.array(SCALES)).float()
    return points, (points.prod(1) > 0).float()


def _initial(seed: int) -> list[Tensor]:
    generator = Streams("channel-scales", seed).generator("initial weights")
    shapes = ((2, HIDDEN), (1, HIDDEN), (HIDDEN, 1), (1, 1))
    bounds = (2**-0.5, 2**-0.5, HIDDEN**-0.5, HIDDEN**-0.5)  # torch's default: uniform within 1/√fan_in
    return [
        torch.from_numpy(generator.uniform(-b, b, shape)).float()
        for b, shape in zip(bounds, shapes, strict=True)
    ]


def train(place: str, x: Tensor, y: Tensor, initial: list[Tensor], rates: Tensor) -> list[Tensor]:
    """Full-batch gradient descent with momentum 0.9 on R networks at once, each at its own rate ``(R,)``."""
    weights = [w.clone().requires_grad_() for w in initial]
    velocity = [torch.zeros_like(w) for w in weights]
    for _ in range(STEPS):
        losses = F.binary_cross_entropy_with_logits(forward(weights, x, place, x), y, reduction="none").mean(
            1
        )
        gradients = torch.autograd.grad(losses.sum(), weights)
        with torch.no_grad():
            for w, v, g in zip(weights, velocity, gradients, strict=True):
                v.mul_(0.9).add_(g)
                w.sub_(rates[:, None, None] * v)
    return [w.detach() for w in weights]


def measure_scales() -> Scales:
    """Trains every place of the norm at every rate; the rate with the highest mean training accuracy is kept."""
    samples = [_sample(seed, "training") for seed in range(NETWORKS)]
    fresh = [_sample(seed, "fresh") for seed in range(NETWORKS)]
    runs = [(rate, seed) for rate in RATES for seed in range(NETWORKS)]
    x, y = (torch.stack([samples[seed][part] for _, seed in runs]) for part in (0, 1))
    x_fresh, y_fresh = (torch.stack([fresh[seed][part] for _, seed in runs]) for part in (0, 1))
    starts = [_initial(seed) for seed in range(NETWORKS)]
    initial = [torch.stack([starts[seed][part] for _, seed in runs]) for part in range(4)]
    axis = torch.linspace(-1, 1, GRID)
    grid = torch.stack(torch.meshgrid(axis * SCALES[0], axis * SCALES[1], indexing="xy"), -1).view(1, -1, 2)
    accuracy, rate, maps = {}, {}, {}
    for place in PLACES:
        weights = train(place, x, y, initial, torch.tensor([rate for rate, _ in runs]))
        with torch.no_grad():
            on_training = _percent_correct(forward(weights, x, place, x), y).view(len(RATES), NETWORKS)
            on_fresh = _percent_correct(forward(weights, x_fresh, place, x), y_fresh).view(
                len(RATES), NETWORKS
            )
            best = int(on_training.mean(1).argmax())
            logits = forward(weights, grid.expand(len(runs), -1, -1), place, x)[best * NETWORKS]
        accuracy[place], rate[place] = on_fresh[best].numpy(), RATES[best]
        maps[place] = logits.sigmoid().view(GRID, GRID).double().numpy()
    return Scales(accuracy, rate, maps, samples[0][0].double().numpy(), samples[0][1].long().numpy())


def _percent_correct(logits: Tensor, y: Tensor) -> Tensor:
    return 100 * ((logits > 0) == (y > 0.5)).double().mean(1)
