"""A fall after each of the epochs that are listed."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, field_validator

from regulab.schedules.schedule import Moment, NoEffect, Warmed
from regulab.values import Epochs, Positive

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

MOST_MILESTONES = 1000


class MultiStep(Warmed):
    """Multi-step: multiplies the learning rate by ``factor`` after each epoch of ``milestones``.

    After the last of them it is lr·factor^(their number). Epochs count from the first one, a ``warmup`` included.
    """

    name: ClassVar[str] = "multi_step"
    milestones: Annotated[tuple[Epochs, ...], Field(min_length=1, max_length=MOST_MILESTONES)] = Field(
        default=(20, 30), description="After which epochs the rate changes, in ascending order."
    )
    factor: Positive = Field(default=0.1, description="What the rate is multiplied by.")

    @field_validator("milestones")
    @classmethod
    def _in_order(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("each epoch once, in ascending order: [20, 30]")
        return value

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (
            cls(milestones=(1, 2, 5), factor=0.3),
            cls(milestones=(3,), factor=0.5),
            cls(milestones=(2, 4), warmup=3),
        )

    def rate(self, lr: float, moment: Moment) -> float:
        falls = bisect_right(self.milestones, moment.epochs_done)
        return self.warmed(lr * self.factor**falls, moment)

    def without_effect(self, epochs: int) -> NoEffect | None:
        never = NoEffect("milestones", "the last change of the rate never comes", epochs)
        return never if self.milestones[-1] >= epochs else self.never_warm(epochs)

    def reference(self, optimizer: Optimizer, steps_per_epoch: int, epochs: int) -> LRScheduler:
        from torch.optim.lr_scheduler import MultiStepLR

        milestones = [epoch * steps_per_epoch for epoch in self.milestones]
        return self.chained(optimizer, steps_per_epoch, MultiStepLR(optimizer, milestones, self.factor))
