"""Artificial targets for regression, one simple and two complex, and samples of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from regulab.lessons.penalties.linear import Array

TRAIN, TEST, INPUTS = 200, 1000, 10
NOISE = 0.3  # of the target's standard deviation, on training and validation outputs


def simple(x: Tensor, _generator: torch.Generator) -> Tensor:
    """2·x₁ − x₂ + x₃/2 of ``(m, 10)`` in [0, 1]."""
    return 2 * x[:, 0] - x[:, 1] + x[:, 2] / 2


def friedman(x: Tensor, _generator: torch.Generator) -> Tensor:
    """10·sin(π·x₁x₂) + 20·(x₃ − ½)² + 10·x₄ + 5·x₅ of ``(m, 10)`` in [0, 1] (Friedman 1991)."""
    return (
        10 * torch.sin(math.pi * x[:, 0] * x[:, 1])
        + 20 * (x[:, 2] - 0.5).square()
        + 10 * x[:, 3]
        + 5 * x[:, 4]
    )


def dense(x: Tensor, generator: torch.Generator) -> Tensor:
    """Σ aₖ·tanh(vₖᵀ(2x − 1)) over eight random units of ``(m, 10)`` in [0, 1]; every input matters."""
    v, a = torch.randn(INPUTS, 8, generator=generator), torch.randn(8, generator=generator)
    return torch.tanh((2 * x - 1) @ v) @ a


TARGETS: Mapping[
    str, tuple[Callable[[Tensor, torch.Generator], Tensor], int]
] = {  # and how many inputs matter
    "simple": (simple, 3),
    "complex, few inputs": (friedman, 5),
    "complex, all inputs": (dense, INPUTS),
}
COMPLEX = tuple(name for name in TARGETS if name != "simple")


@dataclass(frozen=True)
class Samples:
    """Standardized inputs ``(m, 10)`` and outputs ``(m,)`` in units of the target's standard deviation."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]  # without noise


def sample(target: Callable[[Tensor, torch.Generator], Tensor], seed: int) -> Samples:
    """Fresh data of a target: equal seeds, equal inputs for every target."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(2 * TRAIN + TEST, INPUTS, generator=generator)
    noise = NOISE * torch.randn(2 * TRAIN, generator=generator)
    y = target(x, generator)
    y, x = (y - y.mean()) / y.std(), (2 * x - 1) * math.sqrt(3)
    noisy = y[: 2 * TRAIN] + noise
    parts = [slice(0, TRAIN), slice(TRAIN, 2 * TRAIN)]
    train_part, validation = ((x[part], noisy[part]) for part in parts)
    return Samples(train_part, validation, (x[2 * TRAIN :], y[2 * TRAIN :]))


def explained(predicted: Tensor, y: Tensor) -> Array:
    """R² in percent of predictions ``(…, m)`` for ``y`` ``(…, m)``."""
    residual = (predicted - y).square().sum(-1) / (y - y.mean(-1, keepdim=True)).square().sum(-1)
    share: Array = (100 * (1 - residual)).double().numpy()
    return share
