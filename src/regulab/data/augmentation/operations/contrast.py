"""Contrast."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from regulab.data.augmentation.colours import grey, mixed
from regulab.data.augmentation.operation import Jitter


class Contrast(Jitter):
    """Contrast: values move away from an image's mean grey, or towards it.

    m + f·(v − m), cut to [0, 1], m the mean of 0.299·R + 0.587·G + 0.114·B over the image, or of its one channel;
    f is uniform from 1 − c (0 at least) to 1 + c, or in the range given. Equals Pillow's ImageEnhance.Contrast to
    one level, and |1 − f|/2 more where that rounds m. Source: torchvision's ColorJitter.
    """

    name: ClassVar[str] = "contrast"
    source: ClassVar[str] = "torchvision's ColorJitter"

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({"contrast": 0.4}, {"contrast": [1.5, 2]})

    def changed(self, x: Tensor, factor: Tensor) -> Tensor:
        return mixed(x, grey(x).mean((1, 2, 3), keepdim=True), factor)
