"""Early stopping: ends a run when validation gets no better, and goes back to its best weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Self

from pydantic import Field

from regulab.config import Epochs, NonNegative
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Hooks, Technique


class EarlyStopping(Technique):
    """Early stopping: ends a run after ``patience`` epochs in which the validation loss did not improve.

    An epoch improves when its validation loss lies more than ``min_delta`` (nats) under the lowest one
    that counted before. The run ends with the weights of its lowest validation loss, whether it
    stopped early or not. Parameters: ``patience`` ≥ 1 epochs, ``min_delta`` ≥ 0.

    Source: Prechelt 1998.
    """

    name: ClassVar[str] = "early_stopping"
    scalar: ClassVar[str] = "patience"
    search: ClassVar[SearchRange | None] = SearchRange(1, 17, "linear", stronger="lower", whole=True)
    patience: Epochs = Field(default=5, description="Epochs without improvement before the run ends.")
    min_delta: NonNegative = Field(default=0.0, description="What counts as an improvement, in nats.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(patience=3),)

    def legend(self) -> str:
        return f"early stopping, patience {self.patience}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        return Hooks(stopping=[None if v is None else _rule(v) for v in values])


def _rule(value: EarlyStopping) -> Callable[[Sequence[float]], bool]:
    def stop(validation_losses: Sequence[float]) -> bool:
        best, waited = float("inf"), 0
        for loss in validation_losses:
            best, waited = (loss, 0) if loss < best - value.min_delta else (best, waited + 1)
        return waited >= value.patience

    return stop
