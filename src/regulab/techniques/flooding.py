"""Flooding: the training loss is kept from falling below a level."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field
from torch import Tensor

from regulab.config import NonNegative
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Hooks, PerRun, Technique


class Flooding(Technique):
    """Flooding: minimizes |J − b| + b, where J is a run's mean loss over the batch; below b a step climbs.

    J is what the run would minimize otherwise: the mean cross-entropy, by ``train.class_weights`` where there are any,
    with all that label smoothing, a confidence penalty, R-Drop or a gradient penalty make of it. Penalties on weights
    are not flooded. Recorded losses stay the plain cross-entropy. Inference is as always. Parameter: ``level`` b ≥ 0,
    in nats; with 0 it is the plain step.

    Source: Ishida et al. 2020 (arXiv 2002.08709).
    """

    name: ClassVar[str] = "flooding"
    scalar: ClassVar[str] = "level"
    search: ClassVar[SearchRange | None] = SearchRange(0.003, 0.3)
    level: NonNegative = Field(description="The level b below which the mean loss of a batch is raised.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(level=2.4), cls(level=9.0)  # above and far above the loss that digits begin with

    def legend(self) -> str:
        return f"flooding b={self.level:g}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        levels = PerRun([0.0 if value is None else value.level for value in values])

        def mean(means: Tensor) -> Tensor:
            b = levels(means)
            return (means - b).abs() + b

        return Hooks(mean=mean)
