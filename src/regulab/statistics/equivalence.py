"""Equivalence by two one-sided tests: the difference lies inside (−margin, +margin)."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from regulab.errors import UserError
from regulab.statistics.sign_flip import Differences, is_whole, one_sided_p
from regulab.statistics.whole import with_few_parts

ROUNDING = 1e-9  # of the margin: what lies nearer to −margin or +margin lies on it


def equivalence_p(d: Differences, margin: float | Fraction, generator: np.random.Generator) -> float:
    """The larger p of the one-sided sign-flip tests that d + margin > 0 and that margin − d > 0.

    ``d`` are paired differences ``(n,)`` in the unit of ``margin``. Both nulls (too low, too high)
    must be rejected, and an intersection of tests needs no correction, so the larger p is the p of
    "not equivalent". Assumes differences symmetric about their centre. A difference of just one margin in every
    seed has p = 1. Raises `UserError` where the margin is not a positive number. Source: Schuirmann 1987.

    **Whole numbers.** T(s) ≥ Σx for x = d + margin means that what got a minus adds up to at most 0: the dᵢ of k
    pairs sum to at most −k·margin. So the margin plays its part only in comparisons of whole numbers with k·margin,
    k ≤ n, and a fraction with few parts that compares alike takes its place: x in such parts is whole.
    """
    low, high = sides(d, margin)
    return max(one_sided_p(low, generator), one_sided_p(high, generator))


def sides(d: Differences, margin: float | Fraction) -> tuple[Differences, Differences]:
    """d + margin and margin − d, each to be tested for lying above 0; whole numbers where ``d`` are."""
    if not 0 < margin < float("inf"):
        raise UserError("not a margin", got=float(margin), expected="a positive number", where="margin")
    # No k ≥ 1 pairs have a sum beyond that, so every larger margin gives the same p, and no number overflows.
    margin = min(margin, 2 * int(np.ceil(np.abs(d).sum())) + 1) if np.isfinite(d).all() else margin
    if is_whole(d):
        near = with_few_parts(Fraction(margin), len(d))
        parts = d.astype(np.int64) * near.denominator
        return parts + near.numerator, near.numerator - parts
    low, high = (_without_rounding(x, float(margin)) for x in (d + float(margin), float(margin) - d))
    return low, high


def _without_rounding(x: Differences, margin: float) -> Differences:
    return np.where(np.abs(x) < ROUNDING * margin, 0.0, x)
