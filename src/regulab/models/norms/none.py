"""No normalization: what the others are compared with."""

from __future__ import annotations

from typing import ClassVar, Self

from torch import nn

from regulab.models.norm import Norm


class NoNorm(Norm):
    """no normalization: y = x, with a bias in the convolution before it

    y = x, in training and in inference. Nets give the convolution before it a bias.
    """

    name: ClassVar[str] = "none"
    shifts: ClassVar[bool] = False

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(),)

    def build(self, channels: int) -> nn.Module:
        return nn.Identity()

    def legend(self) -> str:
        return "no norm"
