"""A fall to a rate that stays: for weights that are averaged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field

from regulab.schedules.schedule import Moment, Schedule, half_cosine

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


class SWASchedule(Schedule):
    """SWA: half a cosine from the optimizer's rate down to a share of it, which then stays, as ``swa`` wants it.

    The fall takes the first ``fall`` of all steps, in whole steps N: with t = min(1, step/N) the rate is
    lr·(share + (1 − share)·(1 + cos πt)/2). It is torch's ``SWALR`` from the first step on. The defaults suit those of
    the technique ``swa``, whose average begins where the fall ends.

    Source: Izmailov et al. 2018 (arXiv 1803.05407), whose code trains VGG-16 from a rate of 0.05 down to 0.01.
    """

    name: ClassVar[str] = "swa"
    fall: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.75, description="The part of all steps in which the rate falls."
    )
    share: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.2, description="The rate that stays, as a share of the optimizer's."
    )

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(), cls(fall=0.4, share=0.05)

    def rate(self, lr: float, moment: Moment) -> float:
        return half_cosine(lr, self.share * lr, min(1.0, moment.step / self._steps(moment.total_steps)))

    def _steps(self, total: int) -> int:
        return max(1, round(self.fall * total))

    def without_effect(self, epochs: int) -> None:
        return None

    def reference(self, optimizer: Optimizer, steps_per_epoch: int, epochs: int) -> LRScheduler:
        from torch.optim.swa_utils import SWALR

        low = self.share * optimizer.param_groups[0]["lr"]
        return SWALR(optimizer, low, anneal_epochs=self._steps(epochs * steps_per_epoch))
