"""Group lasso over output channels: whole filters become exactly zero, which is what makes a network smaller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor

from regulab.techniques.penalty import Penalty, Strengths, rows
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Hooks, Parameter

NEWTON_STEPS = (
    6  # from 3 to 4,608 weights a group, steps within e^±18 of another: to rounding, in float64 too
)


class GroupLasso(Penalty):
    """Group lasso: adds λ·Σ √n·‖w‖₂ over output channels, each with n weights w, and sets whole channels to zero.

    A group is a row of a linear layer or a filter of a convolution: what lies along the first axis of a weight (of a
    transposed convolution that is an input channel). With ``include: all`` each bias, γ and β is a group of its
    own, penalized as by L1.

    After the step comes the proximal operator, the w that minimizes λ√n·‖w‖ + Σ (w − z)²/(2s). Adam has a step s for
    each weight, so wᵢ = zᵢ·ν/(ν + τᵢ) with τ = λ√n·s, where the length ν = ‖w‖ solves Σ (zᵢ/(ν + τᵢ))² = 1; and w = 0
    where Σ (zᵢ/τᵢ)² ≤ 1. With one step for all, ν = ‖z‖ − τ. What it removed counts as part of the gradient that the
    optimizer remembers, as with L1, so that the minimizer is the penalty's own under every optimizer. Beside ``l1`` it
    is the sparse group lasso: L1's step comes first, and both together are the proximal step of the sum (Yu 2013).

    A filter of zeros gives a constant, not nothing: its bias, or β of the batch norm behind it, whose γ is then moot.
    Before a norm lengths change no output, so the penalty raises the effective learning rate there until a filter
    reaches zero. Inference is as always. Parameters: ``strength`` λ ≥ 0; ``include``: ``weights`` (of convolutions and
    linear layers, the default) or ``all``.

    Source: Yuan & Lin 2006; for networks Wen et al. 2016 (arXiv 1608.03665); sparse: Simon et al. 2013.
    """

    name: ClassVar[str] = "group_lasso"
    search: ClassVar[SearchRange | None] = SearchRange(3e-6, 1e-2)
    after: ClassVar[tuple[str, ...]] = ("l1",)

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(strength=0.01), cls(strength=0.2), cls(strength=0.005, include="all")

    def legend(self) -> str:
        return f"group lasso λ={self.strength:g}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        strengths = Strengths(values)

        def penalty(p: Parameter) -> Tensor | None:
            strength = strengths(p)
            if strength is None:
                return None
            groups = rows(p.value)
            lengths: Tensor = groups.norm(dim=2).sum(1)
            return strength.flatten() * _root_of_size(groups) * lengths

        def proximal(p: Parameter, step: Tensor) -> Tensor | None:
            strength = strengths(p)
            if strength is None:
                return None
            z, tau = rows(p.value), strength * step
            tau = rows(tau.expand_as(p.value)) * _root_of_size(z)
            alike = step.ndim == 0 or all(n == 1 for n in step.shape[2:])  # SGD's steps, not Adam's
            return _removed(z, tau, alike).view_as(p.value)

        return Hooks(penalty=penalty, proximal=proximal)


def _root_of_size(groups: Tensor) -> float:
    return float(groups.shape[2] ** 0.5)


def _removed(z: Tensor, tau: Tensor, alike: bool) -> Tensor:
    """z − w for groups z ``(R, rows, n)``; τ has the same shape, and is one number in each group if ``alike``."""
    # The first two bounds hold for every root: no single term is over 1, nor would all be with the largest τ.
    length = torch.maximum(
        z.norm(dim=2, keepdim=True) - tau.amax(2, keepdim=True), (z.abs() - tau).amax(2, keepdim=True)
    ).clamp(min=0)
    # 1/√Σ(z/(ν + τ))² is a power mean of the ν + τᵢ, so it rises, and is concave, in ν: Newton's method on it climbs to
    # the root from below and never passes it. It is exact at the first step where all τ are alike.
    for _ in range(0 if alike else NEWTON_STEPS):
        terms = (z / (length + tau)).square()
        total = terms.sum(2, keepdim=True)
        length = length + (total.sqrt() - 1) * total / (terms / (length + tau)).sum(2, keepdim=True)
    kept = torch.where(z == 0, 0, z / tau).norm(dim=2, keepdim=True) > 1
    # Selected rather than multiplied: a run that lacks the technique may stand at ∞, and 0·∞ is NaN.
    return torch.where(tau == 0, 0, torch.where(kept, z * tau / (length + tau), z))
