"""A fall after every so many epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field

from regulab.schedules.schedule import Moment, NoEffect, Warmed
from regulab.values import Epochs, Positive

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


class Step(Warmed):
    """Step: multiplies the learning rate by ``factor`` after every ``every`` epochs, lr·factor^⌊epoch/every⌋.

    Epochs count from the first one, a ``warmup`` included.
    """

    name: ClassVar[str] = "step"
    every: Epochs = Field(default=10, description="Epochs between two changes.")
    factor: Positive = Field(default=0.1, description="What the rate is multiplied by.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(every=2, factor=0.3), cls(every=3, factor=1.5), cls(every=2, warmup=0.5)

    def rate(self, lr: float, moment: Moment) -> float:
        return self.warmed(lr * self.factor ** (moment.epochs_done // self.every), moment)

    def without_effect(self, epochs: int) -> NoEffect | None:
        never = NoEffect("every", "the rate never changes", epochs)
        return never if self.every >= epochs else self.never_warm(epochs)

    def reference(self, optimizer: Optimizer, steps_per_epoch: int, epochs: int) -> LRScheduler:
        from torch.optim.lr_scheduler import StepLR

        falls = StepLR(optimizer, self.every * steps_per_epoch, gamma=self.factor)
        return self.chained(optimizer, steps_per_epoch, falls)
