"""Augmentation: an arm's own random transformations of the training images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from regulab.data.augmentation import AugmentSettings
from regulab.data.augmentation.operations.crop import PaddedCrop
from regulab.data.augmentation.operations.erase import RandomErasing
from regulab.techniques.search_range import SearchRange
from regulab.techniques.technique import Hooks, Technique


class Augmentation(AugmentSettings, Technique):
    """Augmentation: every training image is moved, recoloured or covered in part anew in every epoch.

    In the place of ``data.augment``, with the same keys; `regulab show augmentation` tells them. Each image has its
    own draws per epoch, which all arms of a seed share: rotations by u·7° and u·15° use the same u. Validation and
    test images are never augmented.
    """

    name: ClassVar[str] = "augmentation"
    scalar: ClassVar[str] = "rotate"
    search: ClassVar[SearchRange | None] = SearchRange(5, 45, "linear")

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (
            cls(rotate=15.0, flip=True),
            cls(crop=PaddedCrop(padding=2), brightness=0.3, noise=0.05, erase=RandomErasing(value="random")),
            cls(rotate=(-5, 15), fill="mean", trivial_augment=True),
        )

    def legend(self) -> str:
        return self.label()

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        return Hooks(augment=list(values))
