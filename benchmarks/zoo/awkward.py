"""What people write, too, and no stack of runs can do: ``(B, 3, 16, 16)`` to ten scores."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Convolved(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3, 2), nn.Linear(8, 10)


class NumbersDecide(Convolved):
    """What is done depends on the values."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x))
        if x.max() > 20:
            x = x / x.max().item() * 20
        return self.fc(x.mean((2, 3)))


class Hooked(Convolved):
    """A hook changes what a layer gives."""

    def __init__(self) -> None:
        super().__init__()
        self.conv.register_forward_hook(lambda layer, inputs, output: F.relu(output))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).mean((2, 3)))


class SkipsAtRandom(Convolved):
    """Python's generator decides about a layer."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if not self.training or random.random() < 0.8:
            x = F.relu(x)
        return self.fc(x.mean((2, 3)))


class NoisyInput(Convolved):
    """Noise of torch's generator on the images."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            x = x + 0.1 * torch.randn_like(x)
        return self.fc(F.relu(self.conv(x)).mean((2, 3)))


class Counting(Convolved):
    """An attribute that changes in every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += self.training
        return self.fc(F.relu(self.conv(x)).mean((2, 3)) / (1 + 0.01 * self.passes))


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = (
            nn.Conv2d(3, 8, 3, 2),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.Conv2d(8, 8, 3, padding=1),
        )
        self.b.weight = self.a.weight
        self.fc = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.b(F.relu(self.a(F.relu(self.stem(x)))))).mean((2, 3)))
