"""Gradient penalty: predictions that change fast with the image cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field
from torch import Tensor

from regulab.config import NonNegative
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Hooks, PerRun, Technique


class GradientPenalty(Technique):
    """Gradient penalty: minimizes CE + λ·‖∂CE/∂x‖², the mean over images x of a batch (double backpropagation).

    x is the image as the network gets it, augmented and normalized, so that λ is in units of the normalization. CE is
    the cross-entropy with the targets, without what other techniques make of it, summed over the batch: under batch
    norm ∂CE/∂x counts what an image does to the others of its batch, too. With ``train.class_weights`` an image's slope
    counts as its cross-entropy does. The gradient is differentiated again, which compiled kernels cannot: these arms
    train by torch's layers, in fleets of their own, in the study's precision. A network with an operation that has no
    second derivative is refused. Recorded losses stay the plain cross-entropy. Inference is as always. Parameter:
    ``strength`` λ ≥ 0.

    Source: Drucker & LeCun 1992, "Improving generalization performance using double backpropagation"; for deep
    networks Ross & Doshi-Velez 2018 (arXiv 1711.09404).
    """

    name: ClassVar[str] = "gradient_penalty"
    scalar: ClassVar[str] = "strength"
    search: ClassVar[SearchRange | None] = SearchRange(1e-4, 1)
    double_backward: ClassVar[bool] = True
    strength: NonNegative = Field(description="λ, which multiplies the squared norm of an image's gradient.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(strength=0.5),)

    def legend(self) -> str:
        return f"gradient penalty λ={self.strength:g}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        strengths = PerRun([0.0 if value is None else value.strength for value in values])

        def slope(slopes: Tensor) -> Tensor:
            squares = slopes.square().sum((2, 3, 4))
            return strengths(squares) * squares

        return Hooks(slope=slope)
