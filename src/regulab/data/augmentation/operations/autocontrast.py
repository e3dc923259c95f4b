"""The whole range of levels."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from regulab.data.augmentation.levels import histograms, looked_up, stretched, to_levels
from regulab.data.augmentation.operation import ByChance


class Autocontrast(ByChance):
    """Autocontrast: the levels of some images are stretched over the whole range, channel by channel.

    With the probability given the lowest level of a channel becomes 0, the highest 255, linearly in between; values
    become levels first. Equals Pillow's ImageOps.autocontrast to the level. Source: torchvision's RandomAutocontrast.
    """

    name: ClassVar[str] = "autocontrast"
    source: ClassVar[str] = "torchvision's RandomAutocontrast"

    def changed(self, x: Tensor) -> Tensor:
        levels = to_levels(x)
        return looked_up(levels, stretched(histograms(levels)))
