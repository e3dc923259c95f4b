"""No normalization: what the others are compared with."""

from __future__ import annotations

from torch import nn

from regulab.models.norm import Norm


def _nothing(channels: int) -> nn.Module:
    return nn.Identity()


NONE = Norm(
    name="none",
    summary="no normalization: y = x, with a bias in the convolution before it",
    description="y = x, in training and in inference. Nets give the convolution before it a bias.",
    build=_nothing,
    shifts=False,
)
