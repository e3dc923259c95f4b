"""Standard normal draws that are computed from what they belong to: a seed, a label and a step. Nothing to remember."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from regulab.models.hashed_draws import counted_hashes, first_outputs
from regulab.streams import Streams

HALF = 2**32  # values of half a hash


class NormalDraws:
    """Draws ``(R, *shape)`` of runs, where run r has the stream ``seed_of[r]``; the same on every device.

    The n numbers of step t have the states key + (t·n + 1 … t·n + n)·`WEYL` of SplitMix64, the key being the first
    output of the stream (seed, "normal", label). Of each hash the halves u, v give √(−2·ln((u + 1)/2³²))·cos(2π·v/2³²),
    in float64: in float32 the last numbers of a row, which a processor computes one by one, would differ by rounding
    from those in its middle, and a fleet from the plain loop. Source: Box & Muller 1958.
    """

    def __init__(self, streams: Sequence[Streams], seed_of: Sequence[int], device: torch.device) -> None:
        self._streams, self._device = list(streams), device
        self._seed_of = torch.tensor(list(seed_of), device=device)
        self._keys: dict[str, Tensor] = {}  # (S,), made once: a step copies nothing

    def __call__(self, label: str, like: Tensor, t: int | Tensor) -> Tensor:
        """As ``like`` ``(R, *shape)``, for step ``t``, an integer as a number or as a scalar of the device."""
        if label not in self._keys:
            self._keys[label] = first_outputs(self._streams, "normal", label).to(self._device)
        count = like[0].numel()
        step = t.to(torch.int64) if isinstance(t, Tensor) else t
        hashes = counted_hashes(self._keys[label], count, step)
        u, v = (hashes >> 32) & (HALF - 1), hashes & (HALF - 1)
        radius = ((u + 1).double() / HALF).log().mul(-2).sqrt()
        normal = radius * (v.double() * (2 * math.pi / HALF)).cos()
        return normal.index_select(0, self._seed_of).view(like.shape).to(like.dtype)
