"""Adaptive sharpness-aware minimization: a neighbourhood that grows with the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from pydantic import Field
from torch import Tensor

from regulab.config import NonNegative
from regulab.techniques.sam import TINY
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


class ASAM(Technique):
    """ASAM: every step descends along the gradient at w + ε̂, ε̂ = ρ·T²g/‖T·g‖, with T = |w| + η element by element.

    ε̂ has the largest loss, to first order, of all ε with ‖ε/T‖ ≤ ρ: a neighbourhood as wide as a weight is large, so
    that scaling one layer up and the next down, which leaves the function as it is, leaves its sharpness, too.
    T is of all trained parameters, as in the paper (the authors' code leaves biases at T = 1), and ‖T·g‖ over all of a
    run together. All else is as with SAM: g is the gradient of the data loss, the second evaluation has the same draws,
    batch norm's averages follow the first, a step costs two, and the arms train in fleets of their own. Inference is as
    always. Parameters: ``rho`` ρ ≥ 0, by default 0.5; ``eta`` η ≥ 0, by default 0.01.

    Source: Kwon et al. 2021 (arXiv 2102.11600).
    """

    name: ClassVar[str] = "asam"
    scalar: ClassVar[str] = "rho"
    search: ClassVar[SearchRange | None] = SearchRange(0.05, 5)
    passes: ClassVar[int] = 2
    stage: ClassVar[Stage] = "evaluate"
    excludes: ClassVar[Mapping[str, str]] = {"sam": "both say where the gradient of a step is taken"}
    rho: NonNegative = Field(default=0.5, description="The radius ρ, in units of the weights' own sizes.")
    eta: NonNegative = Field(default=0.01, description="What η a weight of 0 counts with.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(rho=1.0, eta=0.05),)

    def legend(self) -> str:
        return f"ASAM ρ={self.rho:g}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        radii = PerRun([0.0 if value is None else value.rho for value in values])
        least = PerRun([0.0 if value is None else value.eta for value in values])

        def transform(parameters: Tensors, gradients: Tensors, again: Again) -> dict[str, Tensor]:
            scales = {name: w.abs() + over_runs(least(w), w) for name, w in parameters.items()}
            scaled = {name: scales[name] * g for name, g in gradients.items()}
            norms = norm_per_run(scaled)
            radius = radii(norms) / (norms + TINY)
            climbed = {
                name: parameters[name] + over_runs(radius, g) * scales[name] * g for name, g in scaled.items()
            }
            return again(climbed).gradients

        return Hooks(transform=transform)
