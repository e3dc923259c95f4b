"""The range in which a technique's main parameter is worth trying, and values spread over it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

DIGITS = 3  # significant ones of a value that spreading made, so that its name says all of it
Spread = Literal["log", "linear", "complement"]


@dataclass(frozen=True)
class SearchRange:
    """From ``low`` to ``high`` of the parameter that a bare value sets (`Technique.scalar`).

    ``spread``: ``log``, by equal ratios; ``linear``, by equal differences; ``complement``, by equal ratios of 1 − x,
    for shares close to 1 such as an average's decay. ``stronger`` says which end regularizes most. ``whole``
    parameters are rounded to whole numbers.
    """

    low: float
    high: float
    spread: Spread = "log"
    stronger: Literal["higher", "lower"] = "higher"
    whole: bool = False

    def values(self, count: int) -> list[float]:
        """``count`` ≥ 2 values, ascending: both ends, and between them values rounded to ``DIGITS`` digits.

        Of a whole parameter, or of a narrow range, some may be equal.
        """
        parts = [place / (count - 1) for place in range(1, count - 1)]
        return [self.low, *(self._rounded(self._at(part)) for part in parts), self.high]

    def weakest_first(self, values: list[float]) -> list[float]:
        return sorted(values, reverse=self.stronger == "lower")

    def _at(self, part: float) -> float:
        if self.spread == "log":
            return math.exp(math.log(self.low) * (1 - part) + math.log(self.high) * part)
        if self.spread == "complement":
            return 1 - math.exp(math.log(1 - self.low) * (1 - part) + math.log(1 - self.high) * part)
        return self.low * (1 - part) + self.high * part

    def _rounded(self, value: float) -> float:
        if self.whole:
            return round(value)
        if self.spread == "complement":
            return float(f"{1 - float(f'{1 - value:.{DIGITS}g}'):.12g}")
        return float(f"{value:.{DIGITS}g}")
