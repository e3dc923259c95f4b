"""Sign e-values: evidence over pairs that may be looked at after every seed.

A permutation p is valid for a number of seeds that was fixed beforehand; whoever adds seeds until
p < α finds a difference sooner or later. An e-value may be looked at as often as one likes.

**The null.** A pair differs upwards as often as downwards, P(d > 0) = P(d < 0), whatever the pairs before
it gave. Where ties have probability zero this says that the median of d is 0; with ties it is the balance of
the signs among the untied pairs. The shape of d plays no part (skewed, heavy tails), nor does the mean: the mean
of skewed differences may lie on the other side of zero.

**Difference.** Ties are dropped. Let w of t untied pairs have d > 0. Under the null each is a fair coin. Against a
coin that shows wins with probability θ, the likelihood ratio is

    L(θ) = θ^w (1 − θ)^(t−w) / (½)^t,

whose expected factor for the next pair is ½·2θ + ½·2(1 − θ) = 1 under the null: a martingale that starts at 1.
θ is unknown, so we average L over θ uniform on (0, 1), and an average of martingales is one:

    E = 2^t ∫₀¹ θ^w (1 − θ)^(t−w) dθ = 2^t · B(w + 1, t − w + 1) = 2^t · w! · (t − w)! / (t + 1)!

**One side.** The null P(x > 0) ≤ P(x < 0), for x = d + margin ("too low") and for x = margin − d ("too high"): the
chance of a win among untied pairs is q ≤ ½. The factor of L(θ) with θ ≥ ½ is then expected to be
2(qθ + (1 − q)(1 − θ)) ≤ 1, with equality at q = ½, so L(θ) is a supermartingale, and so is its average over θ
uniform on (½, 1) (density 2):

    E₁ = 2^(t+1) ∫_½¹ θ^w (1 − θ)^(t−w) dθ = 2 · E · I_½(t − w + 1, w + 1),

with I the regularized incomplete beta function. It is never under 1/(t + 1), its value at w = 0. Every win raises
it and every loss lowers it.

**Why peeking is allowed.** Ville's inequality: a nonnegative supermartingale that starts at 1 ever reaches c with
probability at most 1/c. With the threshold m/α for each of m arms, the chance that *any* arm *ever* gets a false
verdict is at most m · α/m = α: at whatever looks, with whatever reason to stop or to go on, and however the arms depend
on each other (they share a baseline). An arm has one way to be wrong, and it costs one α/m:

- median 0: ``better`` and ``worse`` are false, and both need E ≥ m/α.
- median above 0 but under the margin: only ``worse`` is false. Its paths have stochastically fewer losses than the fair
  coin's, so it is rarer than at median 0.
- median at the margin or above: ``worse`` and ``equivalent`` are false. Both need E₁ ≥ m/α for x = margin − d, whose
  null holds: ``equivalent`` by its rule, and ``worse`` because x has at least the losses of d for wins, at most
  the wins of d for losses, and E₁ ≥ E wherever the majority wins.

**Once decided stays decided.** The bound is on *ever* reaching the threshold, so an arm keeps the verdict of the first
look that decided it, even if later seeds, added for the sake of another arm, bring E down again. For this, looks must
grow (each holds the pairs of the look before), and the order in which seeds are added is fixed beforehand.

Sources: Ville 1939; Robbins 1970 (Annals of Mathematical Statistics 41, 1397-1409) for the mixture; Ramdas, Grünwald,
Vovk & Shafer 2023 (Statistical Science 38, 576-601) for e-values.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from regulab.statistics.equivalence import ROUNDING
from regulab.statistics.sign_flip import Differences, is_whole

Values = NDArray[np.float64]

_LARGEST_LOG = math.log(sys.float_info.max)


def log_e_difference(wins: ArrayLike, losses: ArrayLike) -> Values:
    """ln E against "as often above 0 as below", element by element; high where wins and losses differ much."""
    w, v = np.asarray(wins), np.asarray(losses)
    log_e: Values = (w + v) * math.log(2) + special.betaln(w + 1, v + 1)
    return log_e


def log_e_above(wins: ArrayLike, losses: ArrayLike) -> Values:
    """ln E₁ against "no more often above 0 than below", element by element; high where wins prevail.

    Where I_½ underflows (beyond 1,000 pairs, losses prevailing) the lower bound 1/(t + 1) stands in.
    """
    w, v = np.asarray(wins), np.asarray(losses)
    share = special.betainc(v + 1, w + 1, 0.5)
    normal = np.where(share < sys.float_info.min, 0, share)  # what lies between has too few digits
    with np.errstate(divide="ignore"):
        log_e: Values = np.maximum(math.log(2) + log_e_difference(w, v) + np.log(normal), -np.log1p(w + v))
    return log_e


def e_threshold(tests: int, alpha: float) -> float:
    """m/α: what an e-value must reach so that m arms share the chance α of a false verdict."""
    return tests / alpha


def fewest_pairs(tests: int, alpha: float, *, equivalence: bool) -> int:
    """The fewest pairs that can decide: untied, all of one sign (as to both margins for ``equivalence``)."""
    log_e, n = (log_e_above if equivalence else log_e_difference), 1
    while log_e(n, 0) < math.log(e_threshold(tests, alpha)):
        n += 1
    return n


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What the signs of an arm's pairs say at one look. e-values are kept as natural logarithms.

    ``log_e_equivalent`` is the smaller of the two one-sided ones; None without a margin.
    """

    wins: int  # pairs with d > 0
    losses: int  # pairs with d < 0
    ties: int
    log_e: float
    log_e_equivalent: float | None

    @property
    def e(self) -> float:
        """E itself; the largest float where it is larger still (from some 1,030 pairs of one sign on)."""
        return math.exp(min(self.log_e, _LARGEST_LOG))

    @property
    def e_equivalent(self) -> float | None:
        if self.log_e_equivalent is None:
            return None
        return math.exp(min(self.log_e_equivalent, _LARGEST_LOG))

    def different(self, tests: int, alpha: float) -> bool:
        """E ≥ m/α; the direction is that of the majority of the signs."""
        return self.log_e >= math.log(e_threshold(tests, alpha))

    def equivalent(self, tests: int, alpha: float) -> bool:
        """Both one-sided e-values ≥ m/α."""
        e = self.log_e_equivalent
        return e is not None and e >= math.log(e_threshold(tests, alpha))


def tally(d: Differences, margin: float | Fraction | None) -> Tally:
    """The signs and e-values of paired differences d = arm − baseline ``(n,)``, in the unit of ``margin``.

    Whole numbers (differences in images) are compared with the margin exactly.
    """
    wins, losses = _signs(d, 0.0)
    equivalent = None
    if margin is not None:
        not_too_low = float(log_e_above(*_signs(d, margin)))
        not_too_high = float(log_e_above(*_signs(-d, margin)))
        equivalent = min(not_too_low, not_too_high)
    return Tally(
        wins=wins,
        losses=losses,
        ties=len(d) - wins - losses,
        log_e=float(log_e_difference(wins, losses)),
        log_e_equivalent=equivalent,
    )


def deciding_tally(looks: Sequence[Tally], tests: int, alpha: float) -> Tally:
    """The first look that decides, else the last one: once decided stays decided (see above)."""
    assert looks, "at least one look"
    for look in looks:
        if look.different(tests, alpha) or look.equivalent(tests, alpha):
            return look
    return looks[-1]


def _signs(d: Differences, shift: float | Fraction) -> tuple[int, int]:
    """How many of d + shift lie above and below 0; what differs from 0 by rounding alone is a tie."""
    if is_whole(d):
        parts = Fraction(shift)
        x = [int(k) * parts.denominator + parts.numerator for k in d]
        return sum(one > 0 for one in x), sum(one < 0 for one in x)
    shifted, rounding = d + float(shift), ROUNDING * float(shift)
    return int(np.count_nonzero(shifted > rounding)), int(np.count_nonzero(shifted < -rounding))
