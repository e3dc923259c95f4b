"""Augmentation: an arm's own random transformations of the training images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from regulab.data.augmentation import AugmentSettings
from regulab.techniques.technique import Hooks, Technique


class Augmentation(AugmentSettings, Technique):
    """Augmentation: every training image is rotated, shifted, scaled or flipped anew in every epoch.

    In the place of ``data.augment``. Each image has its own draw per epoch, which all arms of a seed
    share: rotations by u·7° and u·15° use the same u. Validation and test images are never augmented.
    """

    name: ClassVar[str] = "augmentation"
    scalar: ClassVar[str] = "rotate"

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(rotate=15.0, flip=True),)

    def legend(self) -> str:
        return self.label() or "no augmentation"

    @classmethod
    def stack(cls, values: Sequence[Self | None]) -> Hooks:
        return Hooks(augment=list(values))
