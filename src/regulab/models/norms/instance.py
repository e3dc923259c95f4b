"""Instance normalization: each channel of each image by itself, over its places."""

from __future__ import annotations

from typing import ClassVar, Self

from torch import nn

from regulab.models.norm import Norm


class Instance(Norm):
    """instance normalization: each channel of each image by itself, over its places; the same at test time

    Over the H·W values xᵢ of a channel of one image::

        μ  = mean of xᵢ          σ² = mean of (xᵢ − μ)²          yᵢ = γ (xᵢ − μ)/√(σ² + ε) + β

    with one γ and one β for each channel. A bias of the convolution before it is taken out, so that nets give it none.
    There are no running averages: inference is the same as training. A map of a single place, where nothing would be
    left but β, is refused. ε is 1e-5.

    Source: Ulyanov, Vedaldi & Lempitsky 2016 (arXiv 1607.08022).
    """

    name: ClassVar[str] = "instance"

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(),)

    def build(self, channels: int) -> nn.Module:
        return nn.InstanceNorm2d(channels, affine=True)

    def legend(self) -> str:
        return "instance norm"
