"""Saturation."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from regulab.data.augmentation.colours import grey, mixed
from regulab.data.augmentation.operation import Jitter, needs_colour
from regulab.values.complaints import Refusal


class Saturation(Jitter):
    """Saturation: colours move away from grey, or towards it.

    g + f·(v − g), cut to [0, 1], g = 0.299·R + 0.587·G + 0.114·B of the same pixel; f is uniform from 1 − s (0 at
    least) to 1 + s, or in the range given. For images in colour. Equals Pillow's ImageEnhance.Color to one level, and
    |1 − f|/2 more where that rounds g. Source: torchvision's ColorJitter.
    """

    name: ClassVar[str] = "saturation"
    source: ClassVar[str] = "torchvision's ColorJitter"

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({"saturation": 0.7}, {"saturation": [0, 3]})

    def refusal(self, channels: int, height: int, width: int) -> Refusal | None:
        return needs_colour(self.name, channels)

    def changed(self, x: Tensor, factor: Tensor) -> Tensor:
        return mixed(x, grey(x), factor)
