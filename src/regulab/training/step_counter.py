"""Where a training epoch stands: which step of the epoch, which step since training began, and at which rate.

The rate is one number for all runs, unless the schedule follows validation or a technique sets a run's highest rate:
then every run has its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from regulab.config import Train
from regulab.optimizers.optimizer import Number
from regulab.techniques.technique import Hooks

RunLosses = Sequence[Sequence[float]]  # each run's validation losses, of all epochs so far


class StepCounter(Protocol):
    """``position`` counts an epoch's steps from 0, ``t`` those of all epochs from 1; ``lr`` is a step's rate.

    ``lr`` is a number or a scalar, or ``(R,)`` in float64 where runs have their own; ``highest`` is the highest rate of
    the training, a number or ``(R,)`` likewise.
    """

    @property
    def position(self) -> int | Tensor: ...
    @property
    def lr(self) -> Number: ...
    @property
    def t(self) -> int | Tensor: ...
    @property
    def highest(self) -> Number: ...
    @property
    def last_rates(self) -> Sequence[float]:
        """Each run's rate in the last step of the epoch."""
        ...

    def begin(self, epoch: int, validation_losses: RunLosses = ()) -> None:
        """Goes to the start of an epoch, counted from 1, of runs with these losses in the epochs before it."""
        ...

    def advance(self) -> None:
        """Goes to the next step."""
        ...


class HostStepCounter:
    """A step counter of plain numbers; of rates that differ from run to run it makes a tensor."""

    def __init__(self, train: Train, steps: int, runs: int, own: Sequence[float] = ()) -> None:
        self._train, self._steps, self._runs, self._own = train, steps, runs, own
        self.highest = _highest(train, own)
        self.position = self._first = 0

    @property
    def lr(self) -> Number:
        rates = self._rates[self.position]
        return torch.tensor(rates, dtype=torch.float64) if _differ(self._train, self._own) else rates[0]

    @property
    def t(self) -> int:
        return self._first + self.position + 1

    @property
    def last_rates(self) -> Sequence[float]:
        return _of_each_run(self._rates[-1], self._runs)

    def begin(self, epoch: int, validation_losses: RunLosses = ()) -> None:
        self.position, self._first = 0, (epoch - 1) * self._steps
        self._rates = _rates(self._train, epoch, self._steps, self._runs, validation_losses, self._own)

    def advance(self) -> None:
        self.position += 1


class DeviceStepCounter:
    """A step counter of tensors on a device, always the same ones, so that a step captured once goes through all steps.

    Rates are float64: as scalars they then round as a Python number does.
    """

    def __init__(
        self, train: Train, steps: int, runs: int, device: torch.device, own: Sequence[float] = ()
    ) -> None:
        self._train, self._steps, self._runs, self._own = train, steps, runs, own
        highest = _highest(train, own)
        self.highest = highest.to(device) if isinstance(highest, Tensor) else highest
        shape = (steps, runs) if _differ(train, own) else (steps,)
        self._rates = torch.zeros(shape, dtype=torch.float64, device=device)
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

    @property
    def last_rates(self) -> Sequence[float]:
        return self._last_rates

    def begin(self, epoch: int, validation_losses: RunLosses = ()) -> None:
        rates = _rates(self._train, epoch, self._steps, self._runs, validation_losses, self._own)
        self._last_rates = _of_each_run(rates[-1], self._runs)
        self._rates.copy_(torch.tensor(rates, dtype=torch.float64).view(self._rates.shape))
        self._first.fill_((epoch - 1) * self._steps)
        self._position.zero_()

    def advance(self) -> None:
        self._position += 1


def step_counter(
    train: Train, steps: int, runs: int, device: torch.device | None, own: Sequence[float]
) -> HostStepCounter | DeviceStepCounter:
    """On a ``device``, or of plain numbers where there is None."""
    if device is None:
        return HostStepCounter(train, steps, runs, own)
    return DeviceStepCounter(train, steps, runs, device, own)


def own_highest(techniques: Mapping[str, Hooks], train: Train, runs: int) -> list[float]:
    """Each run's highest rate, or nothing where all have the optimizer's."""
    said = next((hooks.lr for hooks in techniques.values() if hooks.lr is not None), [None] * runs)
    own = [train.optimizer.lr if lr is None else lr for lr in said]
    return [] if all(lr == train.optimizer.lr for lr in own) else own


def _highest(train: Train, own: Sequence[float]) -> Number:
    return torch.tensor(own, dtype=torch.float64) if own else train.optimizer.lr


def _differ(train: Train, own: Sequence[float]) -> bool:
    return train.schedule.follows_validation or bool(own)


def _rates(
    train: Train,
    epoch: int,
    steps: int,
    runs: int,
    validation_losses: RunLosses,
    own: Sequence[float],
) -> list[list[float]]:
    """The rates of an epoch's steps: of each run where they may differ, else one for all."""
    if train.schedule.follows_validation:
        assert [len(losses) for losses in validation_losses] == [epoch - 1] * runs, "each run's losses so far"
    else:
        validation_losses = [()] * (len(own) or 1)
    pairs = [(losses, own[row] if own else None) for row, losses in enumerate(validation_losses)]
    first = (epoch - 1) * steps
    return [
        [train.learning_rate(first + step, steps, losses, highest) for losses, highest in pairs]
        for step in range(steps)
    ]


def _of_each_run(rates: Sequence[float], runs: int) -> Sequence[float]:
    return rates if len(rates) == runs else list(rates) * runs


def rate_of_runs(lr: Number, parameter: Tensor) -> Number:
    """The rate as it multiplies a parameter ``(R, *shape)``: a scalar as it is, ``(R,)`` as ``(R, 1, …)``."""
    if not isinstance(lr, Tensor) or lr.ndim == 0:
        return lr
    return lr.to(parameter.device, parameter.dtype).view(-1, *[1] * (parameter.ndim - 1))
