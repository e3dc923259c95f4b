"""Paired differences of an arm by seed: as measured, and in whole images where the metric is an accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from regulab.records import EValue
from regulab.statistics.equivalence import equivalence_p, sides
from regulab.statistics.sequential import Tally, tally
from regulab.statistics.sign_flip import Differences, two_sided_p
from regulab.statistics.values import BySeed
from regulab.statistics.whole import in_images


@dataclass(frozen=True)
class Pairs:
    """d = arm − baseline over the seeds that both have, ascending.

    ``unit`` is what one image is worth, in the unit of the metric, and ``images`` holds the differences in images; both
    are None where the metric does not count images. Tests use these where they are there.
    """

    by_seed: Mapping[int, float]
    images: Mapping[int, int] | None = None
    unit: Fraction | None = None

    @property
    def d(self) -> NDArray[np.float64]:
        return np.array(list(self.by_seed.values()), dtype=np.float64)

    def shown(self) -> dict[int, float]:
        """The differences by seed; counted ones as their nearest float, −0.05 rather than −0.04999999999999716."""
        if self.images is None or self.unit is None:
            return dict(self.by_seed)
        return {seed: float(count * self.unit) for seed, count in self.images.items()}

    def exact(self, seeds: Iterable[int] | None = None) -> Differences:
        """The differences of these seeds (all, if None) that are there, for a test: whole numbers where possible."""
        chosen = [seed for seed in (self.by_seed if seeds is None else seeds) if seed in self.by_seed]
        if self.images is not None:
            return np.array([self.images[seed] for seed in chosen], dtype=np.int64)
        return np.array([self.by_seed[seed] for seed in chosen], dtype=np.float64)

    def two_sided(self, generator: np.random.Generator) -> float:
        return two_sided_p(self.exact(), generator)

    def equivalence(self, margin: Fraction, generator: np.random.Generator) -> float:
        return equivalence_p(self.exact(), self._scaled(margin), generator)

    def sides_over(self, seeds: Sequence[int], margin: Fraction | None) -> tuple[Differences, ...]:
        """For `adjusted_p`, ``(n,)`` over ``seeds`` and 0 where there is no pair: d, or both sides of the margin."""
        mine = list(self.by_seed)
        d = self.exact(mine)
        found = (d,) if margin is None else sides(d, self._scaled(margin))
        places = [seeds.index(seed) for seed in mine]
        spread = [np.zeros(len(seeds), dtype=one.dtype) for one in found]
        for column, one in zip(spread, found, strict=True):
            column[places] = one
        return tuple(spread)

    def tally(self, seeds: Iterable[int], margin: Fraction | None, kind: EValue) -> Tally:
        """What the pairs of ``seeds`` say, in that order, by e-values of this kind."""
        return tally(self.exact(seeds), None if margin is None else self._scaled(margin), kind)

    def all_equal(self) -> bool:
        """Whether there are at least two pairs, and all differ by the same."""
        d = self.exact()
        return len(d) > 1 and bool(np.ptp(d) <= 1e-9 * np.abs(d).max())

    def _scaled(self, margin: Fraction) -> Fraction:
        return margin if self.unit is None else margin / self.unit


def pairs_of(arm: BySeed, baseline: BySeed, *, accuracy: bool, images: int | None) -> Pairs:
    """The pairs of two arms; exact where the metric is an ``accuracy``, over ``images`` if that number is known."""
    seeds = [seed for seed in arm if seed in baseline]
    by_seed = {seed: arm[seed] - baseline[seed] for seed in seeds}
    counted = (
        in_images([*(arm[s] for s in seeds), *(baseline[s] for s in seeds)], images) if accuracy else None
    )
    if counted is None:
        return Pairs(by_seed)
    counts, unit = counted
    whole = {seed: counts[i] - counts[len(seeds) + i] for i, seed in enumerate(seeds)}
    return Pairs(by_seed, whole, unit)
