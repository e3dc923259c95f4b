"""Brightness."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from regulab.data.augmentation.operation import Jitter


class Brightness(Jitter):
    """Brightness: every value of an image times its random factor f.

    f·v, cut to [0, 1]; f is uniform from 1 − b (0 at least) to 1 + b, or in the range given. Equals Pillow's
    ImageEnhance.Brightness to one level, which that rounds down. Source: torchvision's ColorJitter.
    """

    name: ClassVar[str] = "brightness"
    source: ClassVar[str] = "torchvision's ColorJitter"

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({"brightness": 0.4}, {"brightness": [0.3, 0.7]})

    def changed(self, x: Tensor, factor: Tensor) -> Tensor:
        return (x * factor).clamp_(0, 1)
