"""From levels of 16 or 32 bits to the bytes that a dataset holds: one range for all its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulab.errors import UserError

SAMPLE = 1_000_000  # levels that are looked at for crowding
CROWDED = 16  # of 256 steps: where 98 % of the levels share fewer, that is said


@dataclass(frozen=True)
class LevelRange:
    """The levels that become 0 and 255; levels outside become the nearer of the two."""

    low: float
    high: float
    declared: bool  # by the study file; else seen in the training part

    def to_bytes(self, levels: NDArray[Any]) -> NDArray[np.uint8]:
        """round(255·(v − low)/(high − low)), for an array of any shape."""
        share = (np.clip(levels.astype(np.float64), self.low, self.high) - self.low) / (self.high - self.low)
        return np.rint(255 * share).astype(np.uint8)

    def outside(self, levels: NDArray[Any]) -> int:
        """How many levels lie outside the range."""
        return int(np.count_nonzero((levels < self.low) | (levels > self.high)))


def find_range(
    levels: NDArray[Any], training: NDArray[np.int64], declared: tuple[float, float] | None, where: str
) -> LevelRange:
    """The range of images ``(N, H, W, 1)``: the declared one, else the levels that occur in ``training``.

    ``training`` are indices of the images that train. Raises `UserError` where all levels are equal, or where most of
    them lie outside of the declared range.
    """
    low = float(min(levels[index].min() for index in training))
    high = float(max(levels[index].max() for index in training))
    if declared is None:
        if low == high:
            raise UserError("all levels of the training images are equal", got=f"{low:g}", where=where)
        return LevelRange(low, high, False)
    found = LevelRange(*declared, True)
    outside = sum(found.outside(levels[index]) for index in training)
    if 2 * outside > levels[0].size * len(training):
        raise UserError(
            "most levels of the training images lie outside of this range",
            got=f"{declared[0]:g} to {declared[1]:g}",
            expected=f"one that holds levels from {low:g} to {high:g}",
            where="data.range",
        )
    return found


def crowding(levels: NDArray[Any], found: LevelRange) -> str | None:
    """Says where a few extreme levels (dead pixels, hot spots) leave too few steps for all others."""
    sample = levels.reshape(-1)[:: max(1, levels.size // SAMPLE)]
    low, high = np.percentile(sample, [1, 99])
    steps = 255 * (high - low) / (found.high - found.low)
    if steps >= CROWDED:
        return None
    return (
        f"98 % of the levels lie from {low:g} to {high:g} and share {steps:.0f} of 255 steps;"
        " if the others do not matter, declare a narrower data.range"
    )
