"""A fall whenever validation gets no better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field

from regulab.schedules.schedule import Moment, NoEffect, Warmed
from regulab.values import Epochs, NonNegative

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


class ReduceOnPlateau(Warmed):
    """Reduce on plateau: multiplies a run's rate by ``factor`` after ``patience`` epochs without improvement.

    An epoch improves when its validation loss lies more than ``min_delta`` (nats) under the lowest one that counted
    before; after a fall the waiting begins anew. Every run follows its own losses, so that the runs of a study differ
    in their rates, too. The words are those of ``early_stopping``; torch's ReduceLROnPlateau calls a patience of 5
    ``patience=4``. Under protocol `course` it follows the test split. Epochs of a ``warmup`` are waited for like
    others, and in them the rate is below ``min_lr`` where it has to be.
    """

    name: ClassVar[str] = "reduce_on_plateau"
    follows_validation: ClassVar[bool] = True
    factor: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.1, description="What the rate is multiplied by."
    )
    patience: Epochs = Field(default=5, description="Epochs without improvement before the rate falls.")
    min_delta: NonNegative = Field(default=0.0, description="What counts as an improvement, in nats.")
    min_lr: NonNegative = Field(default=0.0, description="The rate does not fall below it.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(factor=0.5, patience=1), cls(factor=0.3, patience=2, min_delta=0.02, min_lr=0.004)

    def rate(self, lr: float, moment: Moment) -> float:
        for _ in range(self._falls(moment.validation_losses)):
            lr = min(lr, max(lr * self.factor, self.min_lr))
        return self.warmed(lr, moment)

    def _falls(self, losses: Sequence[float]) -> int:
        falls, best, waited = 0, float("inf"), 0
        for loss in losses:
            best, waited = (loss, 0) if loss < best - self.min_delta else (best, waited + 1)
            if waited >= self.patience:
                falls, waited = falls + 1, 0
        return falls

    def without_effect(self, epochs: int) -> NoEffect | None:
        most = epochs - 1  # the first epoch is always better, and after the last no step follows
        never = NoEffect("patience", "the rate never falls", most)
        return never if self.patience >= most else self.never_warm(epochs)

    def reference(self, optimizer: Optimizer, steps_per_epoch: int, epochs: int) -> LRScheduler:
        from torch.optim.lr_scheduler import ReduceLROnPlateau

        return ReduceLROnPlateau(
            optimizer,
            factor=self.factor,
            patience=self.patience - 1,
            threshold=self.min_delta,
            threshold_mode="abs",
            min_lr=self.min_lr,
            eps=0,
        )
