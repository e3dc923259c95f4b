"""Confidence penalty: predictions of low entropy cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field
from torch import Tensor

from regulab.config import NonNegative
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Hooks, PerRun, Technique


class ConfidencePenalty(Technique):
    """Confidence penalty: minimizes CE − β·H(p), with H(p) = −Σₖ pₖ·log pₖ the entropy of an image's prediction p.

    A network that is sure of everything has H = 0, one that knows nothing log K. With ``train.class_weights`` the
    entropy of an image counts as its cross-entropy does. Recorded losses stay the plain cross-entropy with the true
    labels; expect them higher than without. Inference is as always. Parameter: ``beta`` β ≥ 0, by default 0.1.

    Source: Pereyra et al. 2017 (arXiv 1701.06548).
    """

    name: ClassVar[str] = "confidence_penalty"
    scalar: ClassVar[str] = "beta"
    search: ClassVar[SearchRange | None] = SearchRange(0.01, 3)
    beta: NonNegative = Field(default=0.1, description="β, which multiplies the entropy of a prediction.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(beta=0.3),)

    def legend(self) -> str:
        return f"confidence penalty β={self.beta:g}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        strengths = PerRun([0.0 if value is None else value.beta for value in values])

        def loss(losses: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
            log_p = logits.log_softmax(-1)
            return losses + strengths(losses) * (log_p.exp() * log_p).sum(-1)

        return Hooks(loss=loss)
