"""TrivialAugment as a technique of its own."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from regulab.techniques.adding import AddedOperation
from regulab.techniques.search_range import SearchRange


class TrivialAugmentTechnique(AddedOperation):
    """TrivialAugment: x → o(x), for each image one operation of fourteen at one magnitude of thirty-one, all uniform.

    The operations are those of ``rand_augment``, and reach further (`regulab show augmentation trivial_augment`); there
    is nothing to tune. In addition to the other augmentation of the study or arm, with its ``fill``. All arms of a seed
    share the draws. Inference: images as they are. Parameter: ``probability``, 0 < p ≤ 1, the share of the images that
    get it, by default 1: all, as in the paper.

    Source: Müller & Hutter 2021 (arXiv 2103.10158), the wide space.
    """

    name: ClassVar[str] = "trivial_augment"
    scalar: ClassVar[str] = "probability"
    search: ClassVar[SearchRange | None] = SearchRange(0.2, 1, "linear")
    operation: ClassVar[str] = "trivial_augment"
    probability: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = Field(
        default=1.0, description="The share of the images that get an operation."
    )

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(), cls(probability=0.4)

    def said(self) -> Any:
        return self.probability
