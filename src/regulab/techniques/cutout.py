"""Cutout as a technique of its own."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from regulab.data.augmentation.operations.cutout import CutoutFields
from regulab.techniques.adding import AddedOperation
from regulab.techniques.search_range import SearchRange


class CutoutTechnique(CutoutFields, AddedOperation):
    """Cutout: x_yx = fill where |y − c_y| and |x − c_x| are within s/2, a square at a random place of every image.

    Its centre c is uniform over the pixels, so that part of the square may lie outside, anew for every image and epoch.
    In addition to the other augmentation of the study or arm, and in the place of ``data.augment.cutout``. All arms of
    a seed share c, whatever their s. Inference: images as they are. Parameters: ``size`` s ≥ 1 pixels, less than twice
    the shorter side; ``fill``, by default the mean of the training images.

    Source: DeVries & Taylor 2017 (arXiv 1708.04552), whose fill is 0 after normalization, the mean.
    """

    name: ClassVar[str] = "cutout"
    scalar: ClassVar[str] = "size"
    search: ClassVar[SearchRange | None] = SearchRange(2, 18, "linear", whole=True)
    operation: ClassVar[str] = "cutout"

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(size=3), cls(size=4, fill=255.0)

    def said(self) -> Any:
        return self.model_dump()
