"""The arms of a study, or the effects of its factors, as one family of tests: p adjusted over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from regulab.statistics.differences import Pairs
from regulab.statistics.holm import holm
from regulab.statistics.step_down import adjusted_p


@dataclass(frozen=True)
class Families:
    """Pairs of every member, which may be of different seeds; flips are those of all seeds that any of them has.

    A member without p (too few pairs, or none) can show nothing and is left out, its adjusted p None. Where
    one is left it is adjusted to itself, exactly.
    """

    pairs: Sequence[Pairs]
    generator: np.random.Generator

    def differences(self, p: Sequence[float | None]) -> list[float | None]:
        """Of two-sided ``p``."""
        return self._adjusted(p, None)

    def equivalences(self, p: Sequence[float | None], margin: Fraction | None) -> list[float | None]:
        """Of ``p`` of equivalence within ``margin``."""
        return self._adjusted(p, margin)

    def _adjusted(self, p: Sequence[float | None], margin: Fraction | None) -> list[float | None]:
        found = list(p)
        tested = [place for place, one in enumerate(p) if one is not None]
        if len(tested) < 2:
            return found
        seeds = sorted(set().union(*(self.pairs[place].by_seed for place in tested)))
        sides = [self.pairs[place].sides_over(seeds, margin) for place in tested]
        adjusted = adjusted_p(sides, self.generator, two_sided=margin is None)
        for place, one in zip(tested, adjusted, strict=True):
            alone = p[place]
            assert alone is not None
            found[place] = max(alone, one)  # drawn flips may come out a little under an exact p
        return found


def holm_of(p: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p, where a member without p counts as 1; None stays None."""
    adjusted = holm([1.0 if one is None else one for one in p])
    return [None if one is None else q for one, q in zip(p, adjusted, strict=True)]
