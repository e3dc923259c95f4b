"""Decoupled weight decay: what turns Adam into AdamW."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field
from torch import Tensor

from regulab.techniques.penalty import Penalty, Strengths
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Hooks, Parameter


class WeightDecay(Penalty):
    """Decoupled weight decay: w ← (1 − lr·λ)·w before each step of the optimizer.

    It is not part of the objective: the gradient, and so momentum and Adam's scaling, never see it.
    With plain SGD it equals ``l2`` at the same λ; with Adam it does not. Parameters: ``strength`` λ ≥ 0;
    ``include``: ``weights`` (default) or ``all``; ``form``.

    ``form: corrected`` is w ← (1 − λ·lr²/lr_max)·w for the weights before a norm, with lr_max the highest rate of the
    schedule. The lengths of such weights change no output, and settle where decay and steps balance, at a gradient with
    ‖g‖/‖w‖ = √(2λ/lr), which grows as a schedule lowers lr; the corrected form holds it at √(2λ/lr_max). All others
    decay by lr·λ. Which weights are before a norm is measured, and a note names the others; at a constant rate the two
    forms are the same.

    Source: Loshchilov & Hutter 2019 (arXiv 1711.05101); corrected: Defazio 2025 (arXiv 2506.02285).
    """

    name: ClassVar[str] = "weight_decay"
    search: ClassVar[SearchRange | None] = SearchRange(1e-4, 1)
    form: Literal["decoupled", "corrected"] = Field(
        default="decoupled",
        description="Decay by lr·λ; or, before a norm, by λ·lr²/lr_max, whose balance with the steps a schedule keeps.",
    )

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(strength=0.1), cls(strength=0.4, form="corrected")

    def legend(self) -> str:
        return f"weight decay λ={self.strength:g}" + (" (corrected)" if self.form == "corrected" else "")

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        plain = Strengths(values, lambda value: value.strength if value.form == "decoupled" else 0.0)
        corrected = Strengths(values, lambda value: value.strength if value.form == "corrected" else 0.0)

        def decay(p: Parameter, lr: float | Tensor, highest: float | Tensor) -> Tensor | None:
            one, two = plain(p), corrected(p)
            if two is None:
                return None if one is None else p.value * (1 - lr * one)
            share = lr * (lr / highest) * two if p.before_norm else lr * two
            return p.value * (1 - (share if one is None else share + lr * one))

        by_norm = any(value is not None and value.form == "corrected" for value in values)
        return Hooks(decay=decay, elementwise=True, by_norm=by_norm)
