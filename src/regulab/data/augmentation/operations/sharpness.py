"""Sharpness."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from regulab.data.augmentation.colours import mixed, smoothed
from regulab.data.augmentation.operation import Jitter


class Sharpness(Jitter):
    """Sharpness: an image moves away from a smoothed copy of itself, or towards it.

    s + f·(v − s), cut to [0, 1], s the mean over 3 × 3 pixels with five times the middle one; the outermost pixels
    stay. f is uniform from 1 − r (0 at least) to 1 + r, or in the range given. Equals Pillow's ImageEnhance.Sharpness
    to one level, and |1 − f|/2 more where that rounds s. Source: torchvision's RandomAdjustSharpness.
    """

    name: ClassVar[str] = "sharpness"
    source: ClassVar[str] = "torchvision's RandomAdjustSharpness"

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({"sharpness": 0.9}, {"sharpness": [1, 5]})

    def changed(self, x: Tensor, factor: Tensor) -> Tensor:
        return mixed(x, smoothed(x), factor)
