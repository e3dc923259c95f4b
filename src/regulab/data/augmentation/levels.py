"""Operations on the 256 levels of stored images: as tables, one for every image and channel."""

from __future__ import annotations

import torch
from torch import Tensor

LEVELS = 256


def to_levels(x: Tensor) -> Tensor:
    """The nearest levels, int64 ``(B, C, H, W)``, of values in [0, 1]."""
    return (x * 255).round_().long()


def looked_up(levels: Tensor, tables: Tensor) -> Tensor:
    """Levels ``(B, C, H, W)`` by ``tables`` ``(B, C, 256)`` of float32 levels, as values in [0, 1]."""
    flat = levels.flatten(2)
    return (tables.expand(*flat.shape[:2], LEVELS).gather(2, flat) / 255).view_as(levels)


def identity(like: Tensor) -> Tensor:
    """``(1, 1, 256)``: every level itself."""
    return torch.arange(LEVELS, dtype=torch.float32, device=like.device)[None, None]


def histograms(levels: Tensor) -> Tensor:
    """How many pixels of every image and channel have each level, int64 ``(B, C, 256)``."""
    flat = levels.flatten(2)
    counts = torch.zeros(*flat.shape[:2], LEVELS, dtype=torch.int64, device=levels.device)
    return counts.scatter_add_(2, flat, torch.ones_like(flat))


def equalized(counts: Tensor) -> Tensor:
    """Tables ``(B, C, 256)`` that spread the levels of ``counts``, int64 of that shape, evenly.

    With the step ⌊(pixels − pixels of the highest level there is)/255⌋, level v becomes
    ⌊(⌊step/2⌋ + pixels below v)/step⌋, 255 at most. Where there is one level, or the step is 0, nothing changes.
    Source: Pillow's ``ImageOps.equalize``, to the level.
    """
    sums = counts.cumsum(2)
    total = sums[..., -1:]
    below_highest = torch.where(sums < total, sums, 0).amax(2, keepdim=True)
    step = torch.div(below_highest, 255, rounding_mode="floor")
    below = torch.cat((torch.zeros_like(total), sums[..., :-1]), 2)
    divisor = step.clamp(min=1)
    half = torch.div(step, 2, rounding_mode="floor")
    spread = torch.div(half + below, divisor, rounding_mode="floor").clamp(max=255)
    return torch.where(step > 0, spread.float(), identity(counts))


def stretched(counts: Tensor) -> Tensor:
    """Tables ``(B, C, 256)`` that take the lowest level there is to 0 and the highest to 255, in between (v − low)·s.

    s = 255/(high − low); fractions are cut off. Where there is one level nothing changes. Source: Pillow's
    ``ImageOps.autocontrast``.
    """
    levels = identity(counts)
    there = counts > 0
    low = torch.where(there, levels, 255).amin(2, keepdim=True).double()
    high = torch.where(there, levels, 0).amax(2, keepdim=True).double()
    # Pillow's own formula in double precision: others, 255·(1/(high − low)) too, give another level here and there.
    scale = torch.full_like(low, 255) / (high - low).clamp(min=1)
    table = (levels * scale - low * scale).clamp(0, 255).floor().float()
    return torch.where(high > low, table, levels)


def solarized(threshold: Tensor | float, like: Tensor) -> Tensor:
    """Tables that turn levels from ``threshold`` on into 255 − v. Source: Pillow's ``ImageOps.solarize``."""
    levels = identity(like)
    return torch.where(levels < threshold, levels, 255 - levels)


def posterized(bits: Tensor | float, like: Tensor) -> Tensor:
    """Tables that keep the highest ``bits`` of a level's eight. Source: Pillow's ``ImageOps.posterize``."""
    levels = identity(like)
    step = 2.0 ** (8 - bits)
    return (levels / step).floor() * step
