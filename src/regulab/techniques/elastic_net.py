"""The elastic net: L1 and L2 in one penalty, taken in one proximal step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor

from regulab.techniques.penalty import Penalty, Strengths, sum_per_run
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Hooks, Parameter

PART_OF_IT = (
    "elastic_net has this part itself: give its strength λ and ratio ρ the sum, λρ for L1 and λ(1 − ρ) for L2"
)


class ElasticNet(Penalty):
    """Elastic net: adds λ·(ρ·Σ|w| + (1 − ρ)/2·Σw²) to the objective, and can make weights exactly zero.

    After the step comes the proximal operator, S(z, ρτ)/(1 + (1 − ρ)τ) with the soft threshold S(z, t) =
    sign(z)·max(|z| − t, 0) and τ = λ·∂(step)/∂(gradient). What it removed counts as part of the gradient that the
    optimizer remembers, so the minimizer is the penalty's own under every optimizer: that of ``l1`` at λρ beside ``l2``
    at λ(1 − ρ), and of scikit-learn's ``ElasticNet(alpha=λ, l1_ratio=ρ)`` on its squared error halved and averaged.
    Inference is as always. Parameters: ``strength`` λ ≥ 0; ``ratio`` ρ, 0 to 1, by default 0.5 (1 is the lasso, 0 is
    ridge); ``include``: ``weights`` (of convolutions and linear layers, the default) or ``all``.

    Source: Zou & Hastie 2005.
    """

    name: ClassVar[str] = "elastic_net"
    search: ClassVar[SearchRange | None] = SearchRange(3e-6, 1e-2)
    excludes: ClassVar[Mapping[str, str]] = {
        "l1": PART_OF_IT,
        "l2": PART_OF_IT,
        "group_lasso": "the two proximal steps one after the other are not that of the sum; l1, l2 and group_lasso in "
        "one arm minimize the same sum exactly",
    }
    ratio: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, description="ρ, the share of L1; the rest is L2."
    )

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(strength=0.01), cls(strength=0.1, ratio=0.1), cls(strength=0.005, ratio=1, include="all")

    def legend(self) -> str:
        return f"elastic net λ={self.strength:g}, ρ={self.ratio:g}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        lasso = Strengths(values, lambda value: value.strength * value.ratio)
        ridge = Strengths(values, lambda value: value.strength * (1 - value.ratio))

        def penalty(p: Parameter) -> Tensor | None:
            one, two = lasso(p), ridge(p)
            terms = [] if one is None else [one * p.value.abs()]
            terms += [] if two is None else [two / 2 * p.value.square()]
            return sum_per_run(sum(terms[1:], terms[0])) if terms else None

        def proximal(p: Parameter, step: Tensor) -> Tensor | None:
            one, two = lasso(p), ridge(p)
            if one is None and two is None:
                return None
            # What is removed, by itself: a difference of nearly equal numbers would lose small penalties in float32.
            cut = torch.zeros_like(p.value) if one is None else torch.clamp(p.value, -one * step, one * step)
            if two is None:
                return cut
            # Selected rather than multiplied: a run without it may stand at ∞, and 0·∞ is NaN.
            return torch.where(two == 0, cut, cut + (p.value - cut) * (two * step / (1 + two * step)))

        return Hooks(penalty=penalty, proximal=proximal, elementwise=True)
