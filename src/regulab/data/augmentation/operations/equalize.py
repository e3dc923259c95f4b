"""Levels spread evenly."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from regulab.data.augmentation.levels import equalized, histograms, looked_up, to_levels
from regulab.data.augmentation.operation import ByChance


class Equalize(ByChance):
    """Equalize: the levels of some images are spread so that all are about equally frequent, channel by channel.

    With the probability given; values become levels first. Equals Pillow's ImageOps.equalize to the level.
    Source: torchvision's RandomEqualize.
    """

    name: ClassVar[str] = "equalize"
    source: ClassVar[str] = "torchvision's RandomEqualize"

    def changed(self, x: Tensor) -> Tensor:
        levels = to_levels(x)
        return looked_up(levels, equalized(histograms(levels)))
