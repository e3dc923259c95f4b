"""Evidence over pairs that may be looked at after every seed: e-values, and what they decide.

A permutation p is valid for a number of seeds that was fixed beforehand; whoever adds seeds until p < α finds a
difference sooner or later. An e-value may be looked at as often as one likes: it is what a bet that is fair if there
is nothing to find has made of a stake of 1. Two kinds are known here, `self_normalized` (the rule) and
`sign_evidence` (of studies that were begun with it: a study keeps the kind of its looks, whatever came later). Both
give

- E against "d is centred at 0", for a difference;
- E₁ against "x is centred at 0 or below", for x = d + margin ("too low") and x = margin − d ("too high"): each is a
  nonnegative supermartingale under its null, and starts at 1.

**Why peeking is allowed.** Ville's inequality: such a thing ever reaches c with probability at most 1/c. With the
threshold m/α for each of m arms, the chance that *any* arm *ever* gets a false verdict is at most m · α/m = α: at
whatever looks, with whatever reason to stop or to go on, and however the arms depend on each other (they share a
baseline). An arm has one way to be wrong, and it costs one α/m:

- centre 0: ``better`` and ``worse`` are false, and both need E ≥ m/α.
- centre above 0 but under the margin: only ``worse`` is false. E is the mean of a bet on either side, and
  ``worse`` needs the downward one to be the larger, hence itself ≥ m/α; its null holds.
- centre at the margin or above: ``worse`` and ``equivalent`` are false. Both need E₁ ≥ m/α for x = margin − d, whose
  null holds: ``equivalent`` by its rule, and ``worse`` because a difference downwards counts only with it
  (`Tally.not_beyond`; a formality, as whatever speaks for d < 0 speaks more for d < margin).

**Once decided stays decided.** The bound is on *ever* reaching the threshold, so an arm keeps the verdict of the first
look that decided it, even if later seeds, added for the sake of another arm, bring E down again. For this, looks must
grow (each begins with the pairs of the look before, in the same order), and the order in which seeds are added is fixed
beforehand.

Sources: Ville 1939; Ramdas, Grünwald, Vovk & Shafer 2023 (Statistical Science 38, 576-601).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from regulab.records import SIGN, EValue
from regulab.statistics import self_normalized, sign_evidence
from regulab.statistics.equivalence import ROUNDING
from regulab.statistics.sign_flip import Differences, is_whole

_LARGEST_LOG = math.log(sys.float_info.max)


def e_threshold(tests: int, alpha: float) -> float:
    """m/α: what an e-value must reach so that m arms share the chance α of a false verdict."""
    return tests / alpha


def fewest_pairs(tests: int, alpha: float, kind: EValue, *, equivalence: bool) -> int:
    """The fewest pairs that can decide: untied, all of one sign (as to both margins for ``equivalence``)."""
    most = sign_evidence.log_e_at_most if kind == SIGN else self_normalized.log_e_at_most
    n = 1
    while most(n, two_sided=not equivalence) < math.log(e_threshold(tests, alpha)):
        n += 1
    return n


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What an arm's pairs say at one look. e-values are kept as natural logarithms.

    ``log_e_equivalent`` is the smaller of the two one-sided ones, ``not_beyond`` the one against a difference of a
    margin or more on the side opposite to ``upwards``; both None without a margin.
    """

    pairs: int
    upwards: bool  # which side of 0 the evidence is for
    log_e: float
    log_e_equivalent: float | None
    not_beyond: float | None

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
        """E ≥ m/α, and no doubt that it does not lie beyond the margin on the other side."""
        bar = math.log(e_threshold(tests, alpha))
        return self.log_e >= bar and (self.not_beyond is None or self.not_beyond >= bar)

    def equivalent(self, tests: int, alpha: float) -> bool:
        """Both one-sided e-values ≥ m/α."""
        e = self.log_e_equivalent
        return e is not None and e >= math.log(e_threshold(tests, alpha))


def tally(d: Differences, margin: float | Fraction | None, kind: EValue) -> Tally:
    """The e-values of paired differences d = arm − baseline ``(n,)``, in the unit of ``margin`` and in the order in
    which they came.

    Whole numbers (differences in images) are compared with the margin exactly.
    """
    above = sign_evidence.log_e_of_x if kind == SIGN else self_normalized.log_e_above
    both = sign_evidence.log_e_of_d if kind == SIGN else self_normalized.log_e_difference
    x = _shifted(d, 0)
    upwards = above(x) > above(-x)
    equivalent = not_beyond = None
    if margin is not None:
        not_too_low, not_too_high = above(_shifted(d, margin)), above(_shifted(-d, margin))
        equivalent = min(not_too_low, not_too_high)
        not_beyond = not_too_low if upwards else not_too_high
    return Tally(
        pairs=len(d), upwards=upwards, log_e=both(x), log_e_equivalent=equivalent, not_beyond=not_beyond
    )


def deciding_tally(looks: Sequence[Tally], tests: int, alpha: float) -> Tally:
    """The first look that decides, else the last one: once decided stays decided (see above)."""
    assert looks, "at least one look"
    for look in looks:
        if look.different(tests, alpha) or look.equivalent(tests, alpha):
            return look
    return looks[-1]


def _shifted(d: Differences, shift: float | Fraction) -> self_normalized.Values:
    """d + shift ``(n,)``, up to a positive factor; what differs from 0 by rounding alone is 0."""
    if is_whole(d):
        parts = Fraction(shift)
        exact = [int(k) * parts.denominator + parts.numerator for k in d]
        largest = max((abs(one) for one in exact), default=0) or 1
        return np.array([float(Fraction(one, largest)) for one in exact])
    x = d + float(shift)
    shifted: self_normalized.Values = np.where(np.abs(x) <= ROUNDING * float(shift), 0.0, x)
    return shifted
