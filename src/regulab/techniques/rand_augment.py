"""RandAugment as a technique of its own."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from regulab.data.augmentation.operations.rand_augment import RandAugmentFields
from regulab.techniques.adding import AddedOperation
from regulab.techniques.search_range import SearchRange


class RandAugmentTechnique(RandAugmentFields, AddedOperation):
    """RandAugment: x → (o_n ∘ … ∘ o_1)(x), n operations of fourteen drawn for each image, all at magnitude m.

    Identity, shear, shift, rotation, brightness, colour, contrast, sharpness, posterize, solarize, autocontrast,
    equalize, each at m/30 of its way (`regulab show augmentation rand_augment`). In addition to the other augmentation
    of the study or arm, and in the place of ``data.augment.rand_augment``. All arms of a seed share the draws: a larger
    n keeps the operations of a smaller one. Inference: images as they are. Parameters: ``m``, 0 to 30, by default 9;
    ``n``, 1 to 14, by default 2; ``fill``, what comes from outside, by default ``data.augment.fill``.

    Source: Cubuk et al. 2020 (arXiv 1909.13719).
    """

    name: ClassVar[str] = "rand_augment"
    scalar: ClassVar[str] = "m"
    search: ClassVar[SearchRange | None] = SearchRange(2, 18, "linear", whole=True)
    operation: ClassVar[str] = "rand_augment"

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(m=20), cls(n=3, m=9, fill=128.0)

    def said(self) -> Any:
        return self.model_dump()
