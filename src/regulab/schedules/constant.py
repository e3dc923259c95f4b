"""One rate throughout."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from regulab.schedules.schedule import Moment, NoEffect, Warmed

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


class Constant(Warmed):
    """Constant: the optimizer's rate, always; but for ``warmup`` epochs of linear rise to it, if they are wanted."""

    name: ClassVar[str] = "constant"

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(), cls(warmup=1.5)

    def rate(self, lr: float, moment: Moment) -> float:
        return self.warmed(lr, moment)

    def without_effect(self, epochs: int) -> NoEffect | None:
        return self.never_warm(epochs)

    def reference(self, optimizer: Optimizer, steps_per_epoch: int, epochs: int) -> LRScheduler:
        from torch.optim.lr_scheduler import ConstantLR

        return self.chained(optimizer, steps_per_epoch, ConstantLR(optimizer, factor=1))
