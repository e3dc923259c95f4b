"""All arms in one family: Westfall and Young's step-down over sign flips that every arm shares.

**Flips.** A seed's differences of all arms share one baseline run, so a flip sᵢ = ±1 turns all of them together:
column k (arm k, over the union of seeds; 0 where the arm has no pair) becomes Tₖ(s) = Σ sᵢxₖᵢ. All 2ⁿ are listed to
n = 16; above, `DRAWS` are drawn, and s = 1, what was seen, is counted among them (Phipson & Smyth 2010). pₖ(s) is the
share of flips t with Tₖ(t) ≥ Tₖ(s): the sign-flip p that arm k would have had with these signs.

**Which arm looks most extreme?** The one with the smallest pₖ(s), and of equal ones that with the largest Uₖ(s) =
Tₖ(s)/√Σᵢxₖᵢ², which no unit and no spread changes and whose variance over flips is 1 for every arm (t grows with it).
Sums in points would let the arm of the widest spread decide for all. U alone (max-T) loses what p knows: twelve
differences of one sign have p = 2/2¹², but U = 2.4 if their sizes vary, which a few arms of even sizes reach by
chance. p alone (min-p) cannot tell apart at the floor, where every arm has some flip with p = 2/2ⁿ. Write a ≽ b for
"at least as extreme".

**Step-down.** From the most extreme arm to the least, K being the arm and all behind it:

    p̃ₖ = min( P(some side of some arm j of K is ≽ arm k as seen), Σ_{j∈K} max over sides of P(side of j ≽ arm k) ),

over flips, then the running maximum. Both are upper bounds, since a union is at most the sum of its parts. The second
never exceeds |K|·pₖ, so p ≤ p̃ ≤ Holm's p, always where flips are listed; and where an arm differs clearly, other arms'
flips seldom are ≽, so p̃ can be 2/2ⁿ (equivalence 1/2ⁿ) whatever the number of arms.

A **difference** has one side, |T|. An **equivalence** has two, x = d + margin ("too low") and x = margin − d ("too
high"), and the arm counts as seen by its less extreme one, whose p is that of the two one-sided tests. An arm that is
not equivalent violates just one side, but which one is unknown: hence "some side" in the first bound, and in the
second the worse one.

**What is held at α.** For every set K of arms whose null is true, flips of K alone give a test of level α, and the
flips of more arms only larger p: so the chance of *any* false difference is at most α, whichever other arms differ,
and so is, separately, that of any false equivalence (closed testing: Marcus, Peritz & Gabriel 1976; step-down by
resampling: Westfall & Young 1993; Romano & Wolf 2005, Theorem 1). It takes one assumption more than Holm: the
differences of the arms in K must be symmetric *jointly*, (d₁, …, dₖ) as likely as (−d₁, …, −dₖ), not only each by
itself. Where all runs' noise is symmetric they are; where arm and baseline are merely exchangeable and skewed, each d
is symmetric and together they are not quite (E[d₁²d₂] is the baseline's skewness). Simulated sizes are in
``docs/verdicts.md``. For equivalence this is exact for arms exactly one margin away, the least favourable place for a
single arm; farther out an arm is rejected more rarely, which for several arms is simulated rather than proved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulab.statistics.sign_flip import DRAWS, EXACT_UP_TO, Differences, is_whole

Values = NDArray[np.float64]
Sides = Sequence[Differences]  # of one arm: each ``(n,)`` over the same seeds, 0 where the arm has none

ROUNDING = 1e-9  # of Σ|x|: sums of real numbers that differ by less are equal


def adjusted_p(arms: Sequence[Sides], generator: np.random.Generator, *, two_sided: bool) -> list[float]:
    """p̃ of every arm, in the order given. ``two_sided`` takes |T| for T.

    ``arms`` hold one side each for a difference, two for an equivalence, ``(n,)`` with the same seeds throughout. Whole
    numbers are compared exactly. `generator` draws the flips above n = 16, the same for all.
    """
    if not arms:
        return []
    signs = _flips(len(arms[0][0]), generator, half=two_sided)
    columns = [[_Column(side, two_sided=two_sided) for side in sides] for sides in arms]
    seen = np.array([min(column.seen(signs) for column in sides) for sides in columns])
    bars = seen - ROUNDING
    most = np.full(len(signs), -np.inf)  # over the arms of K, flip by flip
    total = np.zeros(len(arms))  # the second bound, for the bar of every arm
    adjusted = np.zeros(len(arms))
    ascending = np.argsort(seen, kind="stable")
    for arm in ascending:  # K grows from the least extreme arm
        shares = np.zeros(len(arms))
        for column in columns[arm]:
            extremes, ordered = column.extremes(signs)
            np.maximum(most, extremes, out=most)
            shares = np.maximum(shares, 1 - np.searchsorted(ordered, bars) / len(signs))
        total += shares
        adjusted[arm] = min(float(np.mean(most >= bars[arm])), total[arm])
    order = ascending[::-1]  # so that of arms that tie the one with the larger K comes first
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(adjusted[order]))
    return adjusted.tolist()


class _Column:
    """One side of one arm, whose extremes are numbers −(flips with T as large) + U/4√n: p first, then U."""

    def __init__(self, x: Differences, *, two_sided: bool) -> None:
        self.x, self.two_sided = x.astype(np.float64), two_sided  # sums of images stay under 2⁵³
        self.rounding = 0.0 if is_whole(x) else ROUNDING * float(np.abs(self.x).sum())
        length = float(np.sqrt(np.square(self.x).sum()))
        self.scale = 1 / (4 * length * np.sqrt(len(x))) if length > 0 else 0.0

    def sums(self, signs: Values) -> Values:
        sums: Values = signs @ self.x
        return np.abs(sums) if self.two_sided else sums

    def seen(self, signs: Values) -> float:
        """How extreme the arm is with the signs that it has: the first row of ``signs``."""
        sums = self.sums(signs)
        return float(-np.count_nonzero(sums >= sums[0] - self.rounding) + sums[0] * self.scale)

    def extremes(self, signs: Values) -> tuple[Values, Values]:
        """How extreme it is under every flip ``(S,)``; in the order of ``signs``, and ascending."""
        sums = self.sums(signs)
        order = np.argsort(sums)
        ascending = sums[order]
        as_large = len(sums) - np.searchsorted(ascending, ascending - self.rounding)
        ordered: Values = ascending * self.scale - as_large
        extremes = np.empty_like(ordered)
        extremes[order] = ordered
        return extremes, ordered


def _flips(n: int, generator: np.random.Generator, *, half: bool) -> Values:
    """Sign vectors ``(S, n)``, the first of them ones: all 2ⁿ, or those with s₁ = 1 if ``half``, for |T(−s)| =
    |T(s)|."""
    if n <= EXACT_UP_TO:
        bits: NDArray[Any] = (np.arange(2 ** (n - 1 if half and n else n))[:, None] >> np.arange(n)[::-1]) & 1
        return (1 - 2 * bits).astype(np.float64)
    drawn = 1.0 - 2.0 * generator.integers(0, 2, size=(DRAWS, n), dtype=np.int8)
    return np.concatenate([np.ones((1, n)), drawn])
