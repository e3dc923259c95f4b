"""What operations on colour share: grey values, mixing with a ground, smoothing."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

RED, GREEN, BLUE = 0.299, 0.587, 0.114  # of ITU-R 601-2, as Pillow's and torchvision's grey images


def grey(x: Tensor) -> Tensor:
    """``(B, 1, H, W)``: 0.299·R + 0.587·G + 0.114·B; of grey images themselves."""
    if x.shape[1] == 1:
        return x
    red, green, blue = x.split(1, 1)
    mixture: Tensor = RED * red + GREEN * green + BLUE * blue
    return mixture


def mixed(x: Tensor, ground: Tensor | float, factor: Tensor) -> Tensor:
    """ground + factor·(x − ground), cut to [0, 1]: Pillow's ``Image.blend``, without its rounding to levels."""
    return (x - ground).mul_(factor).add_(ground).clamp_(0, 1)


def smoothed(x: Tensor) -> Tensor:
    """Every inner pixel as the mean over its 3 × 3 neighbours, itself five times: (1 1 1, 1 5 1, 1 1 1)/13.

    The outermost pixels stay, as in Pillow's ``ImageFilter.SMOOTH``.
    """
    height, width = x.shape[2:]
    if min(height, width) < 3:
        return x
    rows = x[:, :, :-2] + x[:, :, 1:-1] + x[:, :, 2:]
    box = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    inner = (box + 4 * x[:, :, 1:-1, 1:-1]) / 13
    result = x.clone()
    result[:, :, 1:-1, 1:-1] = inner
    return result


def blurred(x: Tensor, deviation: Tensor, radius: int) -> Tensor:
    """Images ``(B, C, H, W)`` under a Gaussian of each one's own ``deviation`` ``(B,)`` in pixels, along both axes.

    The weights exp(−d²/2σ²), d from −radius to radius, divided by their sum; beyond the image stands its mirror
    image at the centres of the outermost pixels. σ → 0 leaves an image as it is.
    """
    across = _blurred_along(x, deviation, radius, 3)
    return _blurred_along(across, deviation, radius, 2)


def _blurred_along(x: Tensor, deviation: Tensor, radius: int, axis: int) -> Tensor:
    size = x.shape[axis]
    radius = min(radius, size - 1)
    if radius == 0:
        return x
    padding = (radius, radius, 0, 0) if axis == 3 else (0, 0, radius, radius)
    padded = F.pad(x, padding, mode="reflect")
    narrow = deviation.clamp(min=1e-3)  # exp(−d²/2σ²) is 0 for every d from 1 on
    weights = [(-(d * d) / (2 * narrow * narrow)).exp() for d in range(1, radius + 1)]
    total = 1 + 2 * sum(weights[1:], weights[0])
    result = padded.narrow(axis, radius, size) / total[:, None, None, None]
    for d, weight in enumerate(weights, 1):
        both = padded.narrow(axis, radius - d, size) + padded.narrow(axis, radius + d, size)
        result.addcmul_(both, (weight / total)[:, None, None, None])
    return result
