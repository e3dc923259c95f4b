"""Gradient noise: steps that are random at first, and ever less so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field
from torch import Tensor

from regulab.config import NonNegative
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import (
    Hooks,
    Normal,
    PerRun,
    Stage,
    StepCount,
    Technique,
    Tensors,
    over_runs,
)


class GradientNoise(Technique):
    """Gradient noise: g ← g + n, n ~ N(0, σ²) for every element, with the variance σ² = η/(1 + t)^γ.

    t counts the steps before this one, of all epochs, so that the first has variance η. The draws follow from seed,
    parameter and step: arms of a seed share them, a resumed run goes on with them, and they are the same on a device. g
    is the gradient of the data loss; the noise comes after clipping, which does not take it back, and before penalties.
    Inference is as always. Parameters: ``eta`` η ≥ 0, by default 0.01; ``gamma`` γ ≥ 0, by default 0.55 as in the
    paper, whose η are 0.01, 0.3 and 1.

    Source: Neelakantan et al. 2015 (arXiv 1511.06807).
    """

    name: ClassVar[str] = "gradient_noise"
    scalar: ClassVar[str] = "eta"
    search: ClassVar[SearchRange | None] = SearchRange(1e-5, 1)
    stage: ClassVar[Stage] = "noise"
    eta: NonNegative = Field(default=0.01, description="The variance η of the noise in the first step.")
    gamma: NonNegative = Field(default=0.55, description="How fast γ the variance falls.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(eta=0.1), cls(eta=0.5, gamma=2.0)

    def legend(self) -> str:
        return f"gradient noise η={self.eta:g}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        first = PerRun([0.0 if value is None else value.eta**0.5 for value in values])
        powers = PerRun([0.0 if value is None else -value.gamma / 2 for value in values])

        def noise(gradients: Tensors, count: StepCount, normal: Normal) -> dict[str, Tensor]:
            found = {}
            for name, g in gradients.items():
                sigma = first(g) * count.t ** powers(g)  # t is counted from 1 here
                found[name] = g + over_runs(sigma.to(g.dtype), g) * normal(f"gradient_noise {name}", g)
            return found

        return Hooks(noise=noise)
