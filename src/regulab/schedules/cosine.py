"""Half a cosine down, after a linear warm-up if one is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field

from regulab.schedules.schedule import Moment, NoEffect, Schedule, half_cosine
from regulab.values import NonNegative

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


class Cosine(Schedule):
    """Cosine: half a cosine from the optimizer's rate to ``final_lr``, after ``warmup`` epochs of linear rise.

    The rise takes W steps, the warm-up's epochs in whole steps, at the rates lr·(step + 1)/W; then the rate is
    final_lr + (lr − final_lr)·(1 + cos πt)/2, with t from 0 towards 1 over the steps that are left.

    Source: Loshchilov & Hutter 2017 (arXiv 1608.03983); Goyal et al. 2017 (arXiv 1706.02677) for the warm-up.
    """

    name: ClassVar[str] = "cosine"
    final_lr: NonNegative = Field(default=0.0, description="The rate at the end.")
    warmup: NonNegative = Field(default=0.0, description="Epochs of linear rise to the optimizer's rate.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(final_lr=0.01), cls(warmup=2), cls(final_lr=1e-3, warmup=0.4)

    def rate(self, lr: float, moment: Moment) -> float:
        warmup = self._warmup_steps(moment.steps_per_epoch)
        if moment.step < warmup:
            return lr * (moment.step + 1) / warmup
        left = max(1, moment.total_steps - warmup)
        return half_cosine(lr, self.final_lr, (moment.step - warmup) / left)

    def _warmup_steps(self, steps_per_epoch: int) -> int:
        return round(self.warmup * steps_per_epoch)

    def without_effect(self, epochs: int) -> NoEffect | None:
        never = NoEffect("warmup", "the rate never reaches the optimizer's", epochs)
        return never if self.warmup >= epochs else None

    def reference(self, optimizer: Optimizer, steps_per_epoch: int, epochs: int) -> LRScheduler:
        from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

        warmup = self._warmup_steps(steps_per_epoch)
        left = max(1, epochs * steps_per_epoch - warmup)
        if not warmup:
            return CosineAnnealingLR(optimizer, left, eta_min=self.final_lr)
        rise = LinearLR(optimizer, start_factor=1 / warmup, total_iters=max(1, warmup - 1))
        fall = CosineAnnealingLR(optimizer, left, eta_min=self.final_lr)
        return SequentialLR(optimizer, [rise, fall], milestones=[warmup])
