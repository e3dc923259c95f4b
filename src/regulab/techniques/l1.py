"""L1, the lasso penalty: the one that can make weights exactly zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from regulab.config import Refusal
from regulab.techniques.penalty import Penalty, Strengths, sum_per_run
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Depths, Hooks, Parameter

STEPS = 100


class L1(Penalty):
    """L1 (lasso): adds λ·Σ|w| to the objective.

    Parameters: ``strength`` λ ≥ 0; ``method``; ``steps``; ``include``: ``weights`` (of convolutions and linear
    layers, the default) or ``all``. The lecture's J(θ) = 1/(2m)·[Σ(h−y)² + λΣ|θ|] has strength λ/(2m).

    ``method: subgradient`` adds λ·sign(w) to the gradient; weights then jitter about zero and never
    rest on it. ``method: prox`` (default) applies the proximal operator after the step, the soft
    threshold S(z, τ) = sign(z)·max(|z| − τ, 0) = z − clamp(z, −τ, τ), with τ = λ·∂(step)/∂(gradient), and
    counts what the threshold removed as part of the gradient that the optimizer remembers. So both have the same
    minimizer, with momentum and with Adam, and prox reaches exact zeros.

    Of the gradients of small batches few zeros survive: a weight leaves zero as soon as *one* of them exceeds λ.
    ``method: dual`` has it leave when the *sum* since it came to rest does: of each weight it keeps how far it is, at
    zero, from leaving upwards, a, and downwards, c; both grow by τ in a step, what was removed is taken from the one
    and added to the other, and neither exceeds ``steps``·τ:

        removed = clamp(z, −(c + τ), a + τ),   a ← min(a + τ − removed, steps·τ),   c ← min(c + τ + removed, steps·τ).

    A weight that is not zero has a = 0 on its side, so the objective has the same minimizer: where prox is at rest dual
    is, and the other way round. Without the limit it would be regularized dual averaging; with it a weight that was
    zero for long can return, after ``steps`` steps in which its gradient is twice λ.

    Source: Tibshirani 1996; proximal steps: Parikh & Boyd 2014; dual averaging: Xiao 2010.
    """

    name: ClassVar[str] = "l1"
    search: ClassVar[SearchRange | None] = SearchRange(3e-6, 1e-2)
    method: Literal["prox", "subgradient", "dual"] = Field(
        default="prox",
        description="The proximal step, which makes exact zeros; the subgradient, which makes none; or dual averaging, "
        "which makes many, since it weighs gradients over many batches.",
    )
    steps: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=STEPS,
        description="Over how many steps `method: dual` weighs the gradients of a weight at zero.",
    )

    @model_validator(mode="after")
    def _steps_are_of_dual(self) -> L1:
        if self.steps != STEPS and self.method != "dual":
            raise Refusal(
                "only method dual weighs gradients over steps",
                key="steps",
                got=f"steps {self.steps} beside method {self.method}",
                expected="method: dual",
                cure="or leave steps out",
            )
        return self

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (
            cls(strength=0.01),
            cls(strength=0.005, method="subgradient", include="all"),
            cls(strength=0.01, method="dual", steps=3),
        )

    def legend(self) -> str:
        how = {"subgradient": " (subgradient)", "dual": " (dual averaging)"}.get(self.method, "")
        over = f", {self.steps} steps" if self.method == "dual" and self.steps != STEPS else ""
        return f"L1 λ={self.strength:g}{how[:-1]}{over})" if over else f"L1 λ={self.strength:g}{how}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        everywhere = Strengths(values)
        by_steps = [v if v and v.method != "subgradient" else None for v in values]
        by_subgradient = [v if v and v.method == "subgradient" else None for v in values]
        remembering = any(v.method == "dual" for v in values if v)
        step_strengths, subgradient_strengths = Strengths(by_steps), Strengths(by_subgradient)
        # λ times the steps that are remembered: none by prox, which is dual averaging without memory.
        limits = Strengths(by_steps, lambda v: v.strength * v.steps if v.method == "dual" else 0.0)

        def penalty(p: Parameter) -> Tensor | None:
            strength = everywhere(p)
            return None if strength is None else sum_per_run(strength * p.value.abs())

        def gradient(p: Parameter) -> Tensor | None:
            strength = subgradient_strengths(p)
            return None if strength is None else strength * p.value.sign()

        def proximal(p: Parameter, step: Tensor) -> Tensor | None:
            strength = step_strengths(p)
            tau = None if strength is None else strength * step
            return None if tau is None else torch.clamp(p.value, -tau, tau)

        def dual(p: Parameter, step: Tensor, depths: Depths) -> tuple[Tensor, Depths] | None:
            strength, limit = step_strengths(p), limits(p)
            if strength is None:
                return None
            tau, most = strength * step, (0 if limit is None else limit) * step
            above, below = depths[0] + tau, depths[1] + tau
            removed = torch.clamp(p.value, -below, above)
            return removed, (torch.minimum(above - removed, most), torch.minimum(below + removed, most))

        return Hooks(
            penalty=penalty,
            gradient=gradient if any(by_subgradient) else None,
            proximal=proximal if any(by_steps) and not remembering else None,
            dual=dual if remembering else None,
            elementwise=True,
        )
