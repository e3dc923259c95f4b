"""Where a training epoch stands: which step, at which rate, the how-manieth since training began."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from regulab.config import Train
from regulab.training.schedules import learning_rate


class StepCounter(Protocol):
    """``position`` counts an epoch's steps from 0, ``t`` those of all epochs from 1; ``lr`` is a step's rate."""

    @property
    def position(self) -> int | Tensor: ...
    @property
    def lr(self) -> float | Tensor: ...
    @property
    def t(self) -> int | Tensor: ...

    def begin(self, epoch: int) -> None:
        """Goes to the start of an epoch, counted from 1."""
        ...

    def advance(self) -> None:
        """Goes to the next step."""
        ...


class HostStepCounter:
    """A step counter of plain numbers."""

    def __init__(self, train: Train, steps: int) -> None:
        self._train, self._steps = train, steps
        self.position = self._first = 0

    @property
    def lr(self) -> float:
        return learning_rate(self._train, self._first + self.position, self._steps)

    @property
    def t(self) -> int:
        return self._first + self.position + 1

    def begin(self, epoch: int) -> None:
        self.position, self._first = 0, (epoch - 1) * self._steps

    def advance(self) -> None:
        self.position += 1


class DeviceStepCounter:
    """A step counter of scalars on a device, always the same ones, so that a step captured once goes through all steps.

    Rates are float64: as scalars they then round as a Python number does.
    """

    def __init__(self, train: Train, steps: int, device: torch.device) -> None:
        self._train, self._steps = train, steps
        self._rates = torch.zeros(steps, dtype=torch.float64, device=device)
        self._first = torch.zeros((), dtype=torch.float64, device=device)
        self._position = torch.zeros(1, dtype=torch.int64, device=device)

    @property
    def position(self) -> Tensor:
        return self._position[0]

    @property
    def lr(self) -> Tensor:
        return self._rates.index_select(0, self._position)[0]

    @property
    def t(self) -> Tensor:
        return self._first + self._position[0] + 1

    def begin(self, epoch: int) -> None:
        first = (epoch - 1) * self._steps
        rates = [learning_rate(self._train, first + step, self._steps) for step in range(self._steps)]
        self._rates.copy_(torch.tensor(rates, dtype=torch.float64))
        self._first.fill_(first)
        self._position.zero_()

    def advance(self) -> None:
        self._position += 1
