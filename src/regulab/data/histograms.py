"""Contrast of a picture: min–max normalization, histogram equalization, and its contrast-limited adaptive form.

Pictures are float arrays of levels in [0, 1]: grey ``(H, W)`` or RGB ``(H, W, 3)``.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Levels = NDArray[np.float64]

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, of gamma-encoded red, green and blue
BISECTIONS = 50


def luminance(picture: Levels) -> Levels:
    """The luma Y = 0.299 R + 0.587 G + 0.114 B of a colour picture ``(H, W, 3)``; a grey one as it is."""
    return picture if picture.ndim == 2 else picture @ LUMA


def with_luminance(picture: Levels, target: Levels) -> Levels:
    """The colour picture ``(H, W, 3)`` with the luma ``target`` ``(H, W)``, every hue as it was.

    A pixel c with luma Y becomes Y′ + s·(c − Y), with one s ≤ 1 for its three channels: the largest that keeps
    them in [0, 1]. The channels move and shrink together, so the hue stays, and since the luma of c − Y is 0, the luma
    is Y′ exactly; what does not fit is paid with saturation.
    """
    colour = picture - luminance(picture)[..., None]
    above, below = (np.maximum(side, 0) for side in (colour.max(-1), -colour.min(-1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.fmin(np.fmin((1 - target) / above, target / below), 1)
    moved: Levels = target[..., None] + room[..., None] * colour
    return moved


def normalize(x: Levels) -> Levels:
    """Min–max normalization (x − min)/(max − min), one pair of constants for all pixels and channels.

    A constant picture has no contrast to stretch and comes back as it is.
    """
    low, high = x.min(), x.max()
    stretched: Levels = x.copy() if low == high else (x - low) / (high - low)
    return stretched


def equalize(x: Levels) -> Levels:
    """Global histogram equalization of one channel ``(H, W)``, to [0, 1].

    T(v) = (F(v) − F(min))/(1 − F(min)), where F(v) is the share of pixels at or below v. Computed over the
    levels that occur, without bins: 16-bit levels are kept apart, equal levels stay equal, and order stays. A constant
    channel comes back as it is. Source: Gonzalez & Woods, Digital Image Processing, § 3.3.
    """
    levels, places, counts = np.unique(x, return_inverse=True, return_counts=True)
    if len(levels) == 1:
        return x.copy()
    share = counts.cumsum() / x.size
    mapped: Levels = (share - share[0]) / (1 - share[0])
    return mapped[places].reshape(x.shape)


def equalize_adaptively(x: Levels, tiles: int = 8, clip: float = 2.0, bins: int = 256) -> Levels:
    """Contrast-limited adaptive histogram equalization (CLAHE) of one channel ``(H, W)``, to [0, 1].

    The channel is cut into ``tiles`` × ``tiles`` tiles (no more than it has rows or columns). Each tile's histogram
    over ``bins`` bins between the channel's own minimum and maximum is limited to ``clip`` times its average bin, and
    what was cut off is spread over all bins, so that no mapping is steeper than ``clip`` (≥ 1; infinity limits
    nothing). A pixel takes the mappings of the four nearest tile centres, interpolated bilinearly. Within a bin a
    mapping is linear. A constant channel comes back as it is.

    Source: Zuiderveld 1994, Contrast limited adaptive histogram equalization, in Graphics Gems IV, 474–485.
    """
    assert clip >= 1
    if x.min() == x.max():
        return x.copy()
    rows, columns = _edges(x.shape[0], tiles), _edges(x.shape[1], tiles)
    position = normalize(x) * bins
    bin_of = np.minimum(position.astype(np.int64), bins - 1)
    maps = np.empty((len(rows) - 1, len(columns) - 1, bins + 1))
    for i, (above, below) in enumerate(pairwise(rows)):
        for j, (before, behind) in enumerate(pairwise(columns)):
            tile = bin_of[above:below, before:behind]
            counts = np.bincount(tile.ravel(), minlength=bins) / tile.size
            maps[i, j] = np.concatenate(([0], limited(counts, clip).cumsum()))
    within = position - bin_of
    top, down = _neighbours(rows)
    left, right = _neighbours(columns)
    result = np.zeros(x.shape)
    for tile_row, vertical in ((top, 1 - down), (top + 1, down)):
        for tile_column, horizontal in ((left, 1 - right), (left + 1, right)):
            # Beyond the last tile there is none, and its weight is 0.
            row = np.minimum(tile_row, len(maps) - 1)[:, None]
            column = np.minimum(tile_column, maps.shape[1] - 1)[None, :]
            at, after = (maps[row, column, bin_of + step] for step in (0, 1))
            result += vertical[:, None] * horizontal[None, :] * (at + within * (after - at))
    return result


def limited(histogram: Levels, clip: float) -> Levels:
    """``min(h + t, L)`` with the limit L = ``clip`` times the mean of the bins and the one t that keeps their sum.

    That is where Zuiderveld's repeated redistribution ends. ``clip`` ≥ 1.
    """
    limit = clip * histogram.mean()
    if histogram.max() <= limit:
        return histogram
    total, low, high = histogram.sum(), 0.0, limit
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(histogram + middle, limit).sum() < total else (low, middle)
    result: Levels = np.minimum(histogram + high, limit)
    return result


def hue(picture: Levels) -> tuple[Levels, Levels]:
    """Hue in degrees and chroma of every pixel of ``(H, W, 3)``: angle and length in the plane of R + G + B = const.

    α = R − (G + B)/2, β = (√3/2)(G − B); hue = atan2(β, α), chroma = √(α² + β²). The hue does not change when the
    three channels go through one map a·c + b, a > 0.
    """
    red, green, blue = np.moveaxis(picture, -1, 0)
    alpha, beta = red - (green + blue) / 2, math.sqrt(3) / 2 * (green - blue)
    return np.degrees(np.arctan2(beta, alpha)), np.hypot(alpha, beta)


def _edges(size: int, tiles: int) -> NDArray[np.int64]:
    """Where tiles begin, and where the last one ends."""
    return np.linspace(0, size, min(tiles, size) + 1).round().astype(np.int64)


def _neighbours(edges: NDArray[np.int64]) -> tuple[NDArray[np.int64], Levels]:
    """For every pixel along an axis: the last tile whose centre is not after it, and the weight of the next tile.

    Before the first centre and behind the last one the nearest tile counts alone.
    """
    centres = (edges[:-1] + edges[1:] - 1) / 2
    place = np.interp(np.arange(edges[-1]), centres, np.arange(len(centres)))
    tile = np.minimum(place.astype(np.int64), len(centres) - 1)
    return tile, place - tile
