"""Gamma."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from regulab.data.augmentation.operation import Jitter


class Gamma(Jitter):
    """Gamma: every value of an image to the power of its random exponent, which lightens shadows or darkens them.

    v^γ; γ is uniform from 1 − g to 1 + g, or in the range given. Black and white stay. Equals torchvision's
    adjust_gamma. Source: Poynton 1998.
    """

    name: ClassVar[str] = "gamma"
    source: ClassVar[str] = "torchvision's adjust_gamma"

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({"gamma": 0.4}, {"gamma": [1.5, 3]})

    def changed(self, x: Tensor, factor: Tensor) -> Tensor:
        return x.clamp(0, 1).pow(factor)
