"""R-Drop: two passes of an image, with other dropout, are to predict the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field
from torch import Tensor

from regulab.config import NonNegative
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Hooks, PerRun, Technique


class RDrop(Technique):
    """R-Drop: minimizes ½(CE₁ + CE₂) + α/2·(KL(p₁‖p₂) + KL(p₂‖p₁)), of two passes of each image with other dropout.

    In this scaling, that of a mean cross-entropy, α weighs the mean of both divergences; the paper's equation has the
    sum CE₁ + CE₂, so that its α is twice this one, at half the learning rate. Both passes stand in one batch of 2·B
    images, whose statistics batch norm takes: those of B images, each seen twice (ghost batch norm cuts all 2·B, so
    that its ghost batches are twice as large). The first pass has the dropout draws of the seed's other arms, the
    second draws of its own. With ``train.class_weights`` the divergence of an image counts as its cross-entropy does.
    Recorded losses are the plain cross-entropy of both passes. A step costs two, so these arms train in fleets of
    their own. A network that drops nothing passes twice alike: refused. Inference is as always. Parameter: ``alpha``
    α ≥ 0, by default 1.

    Source: Liang et al. 2021 (arXiv 2106.14448).
    """

    name: ClassVar[str] = "r_drop"
    scalar: ClassVar[str] = "alpha"
    search: ClassVar[SearchRange | None] = SearchRange(0.03, 10)
    copies: ClassVar[int] = 2
    alpha: NonNegative = Field(default=1.0, description="α, which multiplies the mean of both divergences.")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(alpha=2.0),)

    def legend(self) -> str:
        return f"R-Drop α={self.alpha:g}"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        strengths = PerRun([0.0 if value is None else value.alpha for value in values])

        def loss(losses: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
            """Both rows of an image get all of its divergence, since the mean is over both."""
            first, second = logits.log_softmax(-1).chunk(2)
            both = ((first.exp() - second.exp()) * (first - second)).sum(-1)  # KL(p₁‖p₂) + KL(p₂‖p₁)
            return losses + strengths(losses) / 2 * both.repeat(2, 1)

        return Hooks(loss=loss)
