"""Negatives."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from regulab.data.augmentation.operation import ByChance


class Invert(ByChance):
    """Invert: some images become their negatives.

    With the probability given 1 − v. Equals Pillow's ImageOps.invert. Source: torchvision's RandomInvert.
    """

    name: ClassVar[str] = "invert"
    source: ClassVar[str] = "torchvision's RandomInvert"

    def changed(self, x: Tensor) -> Tensor:
        return 1 - x
