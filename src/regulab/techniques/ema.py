"""EMA: an exponential moving average of the weights is what is evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator
from torch import Tensor

from regulab.config import Epochs, Fraction
from regulab.techniques.late import Late
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import (
    Hooks,
    Memory,
    PerRun,
    StepCount,
    Tensors,
    over_runs,
    select,
)


class EMA(Late):
    """EMA: validation, test and saved weights are ā ← β·ā + (1 − β)·w after every step; training itself is as ever.

    Through the first step of epoch ``start`` ā is w itself; from there it follows. The running averages of batch norm
    are averaged like the weights, since statistics of today's weights would not fit weights of some while ago; whole
    numbers, such as counts of batches, are today's. So it is torch's `AveragedModel` with `get_ema_multi_avg_fn(β)` and
    ``use_buffers=True``, first updated in that step. The training loss that is recorded is of w, all after that of ā.
    Parameters: ``decay`` β, 0 ≤ β < 1, by default 0.99 (about the last hundred steps); ``start`` ≥ 1, by default 1;
    ``statistics``: ``averaged``, the default, or ``anew``, which makes the running averages anew for ā after every
    epoch from ``start`` on, as ``swa`` does and at its cost.

    Source: Polyak & Juditsky 1992; with exponential weights Izmailov et al. 2018 (arXiv 1803.05407), section 3.
    """

    name: ClassVar[str] = "ema"
    scalar: ClassVar[str] = "decay"
    search: ClassVar[SearchRange | None] = SearchRange(0.5, 0.999, "complement")
    decay: Fraction = Field(default=0.99, description="The share β of the average that a step keeps.")
    start: Epochs = Field(default=1, description="The epoch whose first step begins the average.")
    statistics: Literal["averaged", "anew"] = Field(
        default="averaged",
        description="Running averages of norms: averaged like weights, or made anew for the averaged weights.",
    )

    @field_validator("decay", mode="before")
    @classmethod
    def _moves(cls, value: Any) -> Any:
        if value == 1 and not isinstance(value, bool):
            raise ValueError(
                "below 1: an average that keeps all of itself would stay what it was at the start"
            )
        return value

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(decay=0.8), cls(decay=0.6, start=2), cls(decay=0.7, statistics="anew")

    def legend(self) -> str:
        begun = f" from epoch {self.start}" if self.start > 1 else ""
        return f"EMA β={self.decay:g}{begun}" + (", statistics anew" if self.statistics == "anew" else "")

    def first_epoch(self, epochs: int) -> int:
        return self.start

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        weights_of_now = PerRun([1.0 if value is None else 1 - value.decay for value in values])
        epochs_before = PerRun([0.0 if value is None else value.start - 1 for value in values])

        def init(weights: Tensors) -> dict[str, Tensor]:
            return {name: w for name, w in weights.items() if w.is_floating_point()}

        def update(averages: Tensors, weights: Tensors, count: StepCount) -> dict[str, Tensor]:
            found = {}
            for name, average in averages.items():
                w = weights[name]
                followed = average.lerp(w, over_runs(weights_of_now(w), w))
                begun = epochs_before(w) * count.steps + 1 < count.t
                found[name] = select(begun, followed, w)
            return found

        def evaluated(averages: Tensors, weights: Tensors) -> dict[str, Tensor]:
            return dict(averages)

        def anew(count: StepCount) -> list[bool]:
            return [
                value is not None
                and value.statistics == "anew"
                and int(count.t) > (value.start - 1) * count.steps
                for value in values
            ]

        wanted = any(value is not None and value.statistics == "anew" for value in values)
        return Hooks(
            memory=Memory(init=init, update=update, evaluated=evaluated, anew=anew if wanted else None)
        )
