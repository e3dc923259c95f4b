"""Weight decay before batch normalization: what it leaves of the outputs, and the effective learning rate."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regulab.lessons.kit.laboratory import SteeredFleet
from regulab.lessons.kit.lesson import Number
from regulab.lessons.penalties.weight_decay.weight_decay_experiments import invariance, losses_before_norm

SCALE = 10.0  # c
DECAYS = (0.0, 1e-3, 1e-2)
SEEDS, TRAINING_RATE = 3, 0.05


def before_norm(net: nn.Module, x: Tensor, labels: Tensor) -> dict[str, Number]:
    scaled = invariance(net.train(), _scale_invariant(net), x, labels, SCALE)
    return {
        "output_change": relative(
            scaled.output_change, f"outputs changed by weights × {SCALE:g} before batch norm"
        ),
        "gradient_change": relative(
            scaled.gradient_change, f"gradient there × {SCALE:g} against the gradient before, difference"
        ),
        "cosine": Number(
            value=scaled.cosine, label="largest |cosine| between a layer's weights and its gradient"
        ),
    }


def _scale_invariant(net: nn.Module) -> list[str]:
    """cnn10k's convolutions: each has a norm behind it."""
    return [f"{path}.weight" for path, layer in net.named_modules() if isinstance(layer, nn.Conv2d)]


def train(fleet: SteeredFleet) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """‖w‖ over all convolutions, and η/‖w‖² averaged over them, by λ, seed and epoch: ``(λ, S, epochs + 1)``."""
    names = _scale_invariant(fleet.module(0))
    squares = []
    for epoch in range(fleet.study.train.epochs + 1):
        if epoch:
            fleet.trainer.train_epoch(epoch)
        weights = fleet.trainer.weights()
        squares.append(
            torch.stack([weights[n].detach().double().flatten(1).square().sum(1) for n in names]).cpu()
        )
    table = torch.stack(squares, -1)  # (layers, R, epochs + 1), runs seed-major
    by_arm = table.reshape(len(table), SEEDS, len(DECAYS), -1).transpose(1, 2)
    return by_arm.sum(0).sqrt().numpy(), (TRAINING_RATE / by_arm).mean(0).numpy()


def losses_with_decay_and_growing_rate(x: Tensor, labels: Tensor) -> dict[str, list[float]]:
    lr, strength, steps = 0.5, 0.02, 150
    return {
        "decay": losses_before_norm(x, labels, steps, lr=lr, strength=strength, growing=False),
        "growing rate": losses_before_norm(x, labels, steps, lr=lr, strength=strength, growing=True),
        "neither": losses_before_norm(x, labels, steps, lr=lr, strength=0.0, growing=False),
    }


def effective_rates(
    weight_norms: NDArray[np.float64], rates: NDArray[np.float64], losses: Mapping[str, list[float]]
) -> dict[str, Number]:
    numbers = {
        "rate_start": Number(
            value=float(rates[:, :, 0].mean()), label="effective learning rate η/‖w‖² at the start"
        )
    }
    for decay, norms, effective in zip(DECAYS, weight_norms, rates, strict=True):
        after = f"after training with λ = {decay:g}"
        numbers[f"norm_{decay:g}"] = Number(
            value=float(norms[:, -1].mean()), label=f"‖w‖ before norms {after}, mean over seeds"
        )
        numbers[f"rate_{decay:g}"] = Number(
            value=float(effective[:, -1].mean()), label=f"effective learning rate η/‖w‖² {after}"
        )
    rising = (np.diff(rates[:, :, -1], axis=0) > 0).all(0)
    decayed, growing, neither = (np.array(losses[k]) for k in ("decay", "growing rate", "neither"))
    numbers["rising"] = Number(
        value=100 * float(rising.mean()),
        label="seeds in which a larger λ ends with a larger effective rate",
        unit="%",
    )
    numbers["replaced"] = relative(
        float(np.abs(decayed / growing - 1).max()),
        "losses with decay against a growing rate, largest difference",
    )
    numbers["unreplaced"] = relative(
        float(np.abs(decayed / neither - 1).max()), "losses with decay against neither, largest difference"
    )
    return numbers


def relative(value: float, label: str) -> Number:
    return Number(value=value, label=f"{label} (relative)")
