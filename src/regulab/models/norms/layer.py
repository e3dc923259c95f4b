"""Layer normalization: each image by itself, over all channels and places."""

from __future__ import annotations

from typing import ClassVar, Self

from torch import nn

from regulab.models.norm import Norm


class Layer(Norm):
    """layer normalization: each image by itself, over all channels and places; the same at test time

    Over the C·H·W values xᵢ of one image::

        μ  = mean of xᵢ          σ² = mean of (xᵢ − μ)²          yᵢ = γ_c (xᵢ − μ)/√(σ² + ε) + β_c

    with one γ and one β for each channel c, as is usual for maps (torch's ``GroupNorm`` with one group); the paper, for
    fully connected layers, has one for each unit, which is the same where H = W = 1. It does not take out a bias of
    the convolution before it, which keeps one. There are no running averages: inference is the same as training, and
    an image never depends on the batch. ε is 1e-5.

    Source: Ba, Kiros & Hinton 2016 (arXiv 1607.06450).
    """

    name: ClassVar[str] = "layer"
    shifts: ClassVar[bool] = False  # the mean over all channels is taken out, not each channel's

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return (cls(),)

    def build(self, channels: int) -> nn.Module:
        return nn.GroupNorm(1, channels)

    def legend(self) -> str:
        return "layer norm"
