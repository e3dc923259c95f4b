"""Label smoothing: a small share of the target goes to all classes alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field
from torch import Tensor

from regulab.config import Fraction
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Hooks, PerRun, Stage, Technique


class LabelSmoothing(Technique):
    """Label smoothing: minimizes (1 − ε)·CE + ε·(mean over the K classes of −log pₖ).

    That is the cross-entropy with targets of which ε is spread evenly over all classes, torch's ``label_smoothing``, of
    labels as of the probabilities that mixing images leaves. With ``train.class_weights`` an image counts by its class
    in both parts; torch weighs the spread part by the classes that it is spread to, which no image belongs to, and
    divides by B instead of Σ ω where targets are probabilities.
    The losses that are recorded, of training as of validation and test, stay the plain cross-entropy with the true
    labels, so that arms can be compared; expect them higher than without. Inference is as always. Parameter:
    ``epsilon`` ε, 0 ≤ ε < 1, by default 0.1.

    Source: Szegedy et al. 2016 (arXiv 1512.00567), section 7.
    """

    name: ClassVar[str] = "label_smoothing"
    scalar: ClassVar[str] = "epsilon"
    search: ClassVar[SearchRange | None] = SearchRange(0.01, 0.5)
    stage: ClassVar[Stage] = "evaluate"
    epsilon: Fraction = Field(default=0.1, description="The share ε of the target that all classes get.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(epsilon=0.2),)

    def legend(self) -> str:
        return f"label smoothing ε={self.epsilon:g}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        shares = PerRun([0.0 if value is None else value.epsilon for value in values])

        def loss(losses: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
            epsilon = shares(losses)
            return (1 - epsilon) * losses - epsilon * logits.log_softmax(-1).mean(-1)

        return Hooks(loss=loss)
