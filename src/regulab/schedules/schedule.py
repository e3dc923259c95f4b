"""What a schedule is: frozen values, and the learning rate of a step as a pure function of where training stands."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from regulab.values.named import Named

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Where a run stands before a step: ``step`` counts from 0 over all ``epochs · steps_per_epoch`` steps."""

    step: int
    steps_per_epoch: int
    epochs: int
    validation_losses: Sequence[float] = ()  # one for every epoch before this one, in nats

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    @property
    def epochs_done(self) -> int:
        return self.step // self.steps_per_epoch


class NoEffect(NamedTuple):
    """A key whose value comes to nothing, what does not happen, and the bound that it would have to keep."""

    key: str
    what: str
    under: int


class Schedule(Named, ABC):
    """How the learning rate changes over a training. Subclasses with a ``name`` are final: one a file, found by it.

    ``follows_validation`` says that a run's rate depends on its own validation losses. Then the runs of a fleet have
    rates of their own; the rates of all other schedules are one number for the whole fleet.
    """

    name: ClassVar[str]
    follows_validation: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def examples(cls) -> tuple[Self, ...]:
        """Values of itself off the defaults, one for each way in which it goes. The contract tests run them."""

    @abstractmethod
    def rate(self, lr: float, moment: Moment) -> float:
        """The rate of the step at ``moment``, of a training whose highest rate is ``lr``: above 0 and finite."""

    @abstractmethod
    def without_effect(self, epochs: int) -> NoEffect | None:
        """What comes to nothing within so many epochs, or None."""

    @abstractmethod
    def reference(self, optimizer: Optimizer, steps_per_epoch: int, epochs: int) -> LRScheduler:
        """torch's own scheduler with the same values, for an optimizer whose rate is the highest.

        It is told of every step; one that follows validation is told of every epoch with its validation loss.
        """


def half_cosine(start: float, end: float, t: float) -> float:
    """From ``start`` at t = 0 to ``end`` at t = 1 along half a cosine: end + (start − end)·(1 + cos πt)/2."""
    return end + (start - end) * (1 + math.cos(math.pi * t)) / 2
