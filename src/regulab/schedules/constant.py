"""One rate throughout."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from regulab.schedules.schedule import Moment, Schedule

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


class Constant(Schedule):
    """Constant: the optimizer's rate, always."""

    name: ClassVar[str] = "constant"

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(),)

    def rate(self, lr: float, moment: Moment) -> float:
        return lr

    def without_effect(self, epochs: int) -> None:
        return None

    def reference(self, optimizer: Optimizer, steps_per_epoch: int, epochs: int) -> LRScheduler:
        from torch.optim.lr_scheduler import ConstantLR

        return ConstantLR(optimizer, factor=1)
