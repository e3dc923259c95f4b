"""EMA: an exponential moving average of the weights is what is evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field
from torch import Tensor

from regulab.config import Epochs, Fraction
from regulab.techniques.technique import (
    Hooks,
    Memory,
    PerRun,
    StepCount,
    Technique,
    Tensors,
    over_runs,
    select,
)


class EMA(Technique):
    """EMA: validation, test and saved weights are ā ← β·ā + (1 − β)·w after every step; training itself is as ever.

    Through the first step of epoch ``start`` ā is w itself; from there it follows. The running averages of batch norm
    are averaged like the weights, since statistics of today's weights would not fit weights of some while ago; whole
    numbers, such as counts of batches, are today's. So it is torch's `AveragedModel` with `get_ema_multi_avg_fn(β)` and
    ``use_buffers=True``, first updated in that step. The training loss that is recorded is of w, all after that of ā.
    Parameters: ``decay`` β, 0 ≤ β < 1, by default 0.99 (about the last hundred steps); ``start`` ≥ 1, by default 1.

    Source: Polyak & Juditsky 1992; with exponential weights Izmailov et al. 2018 (arXiv 1803.05407), section 3.
    """

    name: ClassVar[str] = "ema"
    scalar: ClassVar[str] = "decay"
    decay: Fraction = Field(default=0.99, description="The share β of the average that a step keeps.")
    start: Epochs = Field(default=1, description="The epoch whose first step begins the average.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(decay=0.8), cls(decay=0.6, start=2)

    def legend(self) -> str:
        return f"EMA β={self.decay:g}" + (f" from epoch {self.start}" if self.start > 1 else "")

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

        return Hooks(memory=Memory(init=init, update=update, evaluated=evaluated))
