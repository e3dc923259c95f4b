"""Sharpness-aware minimization: the gradient is taken where the loss near by is largest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field
from torch import Tensor

from regulab.config import NonNegative
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import (
    Again,
    Hooks,
    PerRun,
    Stage,
    Technique,
    Tensors,
    norm_per_run,
    over_runs,
)

TINY = 1e-12  # where the gradient is 0


class SAM(Technique):
    """SAM: every step descends along the gradient at w + ρ·g/‖g‖, where g is the gradient at w.

    That point is where a ball of radius ρ about w has its largest loss, to first order; so minima that are flat over
    such a ball are preferred. ‖g‖ is taken over all trained parameters of the run together, and g is the gradient of
    the data loss: penalties come after, at w. The second evaluation sees the same batch with the same dropout draws,
    and batch norm's running averages follow the first alone. A step costs two, so these arms train in fleets of their
    own. Inference is as always. Parameter: ``rho`` ρ ≥ 0, by default 0.05; with 0 it is the plain step, taken twice as
    slowly.

    Source: Foret et al. 2021 (arXiv 2010.01412).
    """

    name: ClassVar[str] = "sam"
    scalar: ClassVar[str] = "rho"
    search: ClassVar[SearchRange | None] = SearchRange(0.005, 0.5)
    passes: ClassVar[int] = 2
    stage: ClassVar[Stage] = "evaluate"
    rho: NonNegative = Field(default=0.05, description="The radius ρ about the weights.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(rho=0.5),)

    def legend(self) -> str:
        return f"SAM ρ={self.rho:g}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        radii = PerRun([0.0 if value is None else value.rho for value in values])

        def transform(parameters: Tensors, gradients: Tensors, again: Again) -> dict[str, Tensor]:
            norms = norm_per_run(gradients)
            scale = radii(norms) / (norms + TINY)
            climbed = {name: parameters[name] + over_runs(scale, g) * g for name, g in gradients.items()}
            return again(climbed).gradients

        return Hooks(transform=transform)
