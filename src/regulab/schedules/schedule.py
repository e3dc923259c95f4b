"""What a schedule is: frozen values, and the learning rate of a step as a pure function of where training stands."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from pydantic import Field, field_validator

from regulab.values import NonNegative
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


class Warmed(Schedule, ABC):
    """A schedule whose rates are multiplied by (step + 1)/W in the first W steps, those of ``warmup`` epochs.

    Whatever else it counts, such as epochs to the next fall, it counts from the first step of training: torch's
    ``LinearLR`` chained with it. Source: Goyal et al. 2017 (arXiv 1706.02677), section 2.2.
    """

    warmup: NonNegative | None = Field(
        default=None,
        description="Epochs, or a part of one, of linear rise to the optimizer's rate. null: none.",
    )

    @field_validator("warmup")
    @classmethod
    def _none_is_none(cls, value: float | None) -> float | None:
        return value or None

    def warmed(self, rate: float, moment: Moment) -> float:
        """The rate of the schedule by itself, as it is with the warm-up."""
        return rate * min(1.0, (moment.step + 1) / max(1, self._warmup_steps(moment.steps_per_epoch)))

    def _warmup_steps(self, steps_per_epoch: int) -> int:
        return round((self.warmup or 0) * steps_per_epoch)

    def never_warm(self, epochs: int) -> NoEffect | None:
        """A warm-up that takes the whole training."""
        never = NoEffect("warmup", "the rate never reaches the optimizer's", epochs)
        return never if (self.warmup or 0) >= epochs else None

    def chained(self, optimizer: Optimizer, steps_per_epoch: int, scheduler: LRScheduler) -> LRScheduler:
        """torch's scheduler of the schedule by itself, with torch's warm-up before it."""
        from torch.optim.lr_scheduler import ChainedScheduler, LinearLR

        steps = self._warmup_steps(steps_per_epoch)
        if not steps:
            return scheduler
        rise = LinearLR(optimizer, start_factor=1 / steps, total_iters=max(1, steps - 1))
        return ChainedScheduler([scheduler, rise], optimizer)


def half_cosine(start: float, end: float, t: float) -> float:
    """From ``start`` at t = 0 to ``end`` at t = 1 along half a cosine: end + (start − end)·(1 + cos πt)/2."""
    return end + (start - end) * (1 + math.cos(math.pi * t)) / 2
