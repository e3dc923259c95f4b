"""Decoupled weight decay: what turns Adam into AdamW."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from torch import Tensor

from regulab.techniques.technique import Hooks, Parameter, Penalty, Strengths


class WeightDecay(Penalty):
    """Decoupled weight decay: w ← (1 − lr·λ)·w before each step of the optimizer.

    It is not part of the objective: the gradient, and so momentum and Adam's scaling, never see it.
    With plain SGD it equals ``l2`` at the same λ; with Adam it does not. Parameters: ``strength`` λ ≥ 0;
    ``include``: ``weights`` (default) or ``all``.

    Source: Loshchilov & Hutter 2019 (arXiv 1711.05101).
    """

    name: ClassVar[str] = "weight_decay"

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(strength=0.1),)

    def legend(self) -> str:
        return f"weight decay λ={self.strength:g}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        strengths = Strengths(values)

        def decay(p: Parameter, lr: float | Tensor, highest: float) -> Tensor | None:
            strength = strengths(p)
            return None if strength is None else p.value * (1 - lr * strength)

        return Hooks(decay=decay, elementwise=True)
