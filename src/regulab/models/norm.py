"""What a file of `regulab.models.norms` registers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, kw_only=True, eq=False)
class Norm:
    """A normalization layer that nets can be built with.

    ``build(channels)`` makes the layer for activations ``(B, C, H, W)``. ``shifts`` says whether it
    adds a learned shift of its own, so that the convolution before it needs no bias; ``stacks``, whether a fleet can
    take it: one that draws from torch's generator has to train run by run.
    """

    name: str
    summary: str
    description: str
    build: Callable[[int], nn.Module]
    shifts: bool = True
    stacks: bool = True
