"""What the steps of an epoch add up to, on the device."""

from __future__ import annotations

import torch
from torch import Tensor


class EpochSums:
    """What an epoch's steps add up to, ``(R,)`` on the device: losses, fractions right, whose loss stayed finite."""

    def __init__(self, runs: int, device: torch.device) -> None:
        self.loss = torch.zeros(runs, dtype=torch.float64, device=device)
        self.correct = torch.zeros(runs, dtype=torch.float64, device=device)
        self.finite = torch.ones(runs, dtype=torch.bool, device=device)

    def begin(self) -> None:
        self.loss.zero_()
        self.correct.zero_()
        self.finite.fill_(True)

    def add(self, losses: Tensor, right: Tensor) -> None:
        """A step's losses ``(R,)`` and who was right ``(B, R)``. A run whose loss was not finite even once is not
        ``finite``."""
        self.finite &= losses.isfinite()
        self.loss += losses
        self.correct += right.double().mean(0)
