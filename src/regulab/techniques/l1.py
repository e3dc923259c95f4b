"""L1, the lasso penalty: the one that can make weights exactly zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from regulab.techniques.penalty import Penalty, Strengths, sum_per_run
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Hooks, Parameter


class L1(Penalty):
    """L1 (lasso): adds λ·Σ|w| to the objective.

    Parameters: ``strength`` λ ≥ 0; ``method``; ``include``: ``weights`` (of convolutions and linear
    layers, the default) or ``all``. The lecture's J(θ) = 1/(2m)·[Σ(h−y)² + λΣ|θ|] has strength λ/(2m).

    ``method: subgradient`` adds λ·sign(w) to the gradient; weights then jitter about zero and never
    rest on it. ``method: prox`` (default) applies the proximal operator after the step, the soft
    threshold S(z, τ) = sign(z)·max(|z| − τ, 0) = z − clamp(z, −τ, τ), with τ = λ·∂(step)/∂(gradient), and
    counts what the threshold removed as part of the gradient that the optimizer remembers. So both have the same
    minimizer, with momentum and with Adam, and prox reaches exact zeros.

    Source: Tibshirani 1996; proximal steps: Parikh & Boyd 2014.
    """

    name: ClassVar[str] = "l1"
    search: ClassVar[SearchRange | None] = SearchRange(3e-6, 1e-2)
    method: Literal["prox", "subgradient"] = Field(
        default="prox",
        description="The proximal step, which makes exact zeros, or the subgradient, which makes none.",
    )

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(strength=0.01), cls(strength=0.005, method="subgradient", include="all"))

    def legend(self) -> str:
        return f"L1 λ={self.strength:g}" + (" (subgradient)" if self.method == "subgradient" else "")

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        everywhere = Strengths(values)
        by_prox = [v if v and v.method == "prox" else None for v in values]
        by_subgradient = [v if v and v.method == "subgradient" else None for v in values]
        prox_strengths, subgradient_strengths = Strengths(by_prox), Strengths(by_subgradient)

        def penalty(p: Parameter) -> Tensor | None:
            strength = everywhere(p)
            return None if strength is None else sum_per_run(strength * p.value.abs())

        def gradient(p: Parameter) -> Tensor | None:
            strength = subgradient_strengths(p)
            return None if strength is None else strength * p.value.sign()

        def proximal(p: Parameter, step: Tensor) -> Tensor | None:
            strength = prox_strengths(p)
            tau = None if strength is None else strength * step
            return None if tau is None else torch.clamp(p.value, -tau, tau)

        return Hooks(
            penalty=penalty,
            gradient=gradient if any(by_subgradient) else None,
            proximal=proximal if any(by_prox) else None,
            elementwise=True,
        )
