"""Sign e-values: evidence from the signs of the pairs alone.

Studies whose looks began with them keep them; new ones use `self_normalized`, which decides with fewer seeds.

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

**One side.** The null P(x > 0) ≤ P(x < 0): the chance of a win among untied pairs is q ≤ ½. The factor of L(θ) with
θ ≥ ½ is then expected to be 2(qθ + (1 − q)(1 − θ)) ≤ 1, with equality at q = ½, so L(θ) is a supermartingale, and so is
its average over θ uniform on (½, 1) (density 2):

    E₁ = 2^(t+1) ∫_½¹ θ^w (1 − θ)^(t−w) dθ = 2 · E · I_½(t − w + 1, w + 1),

with I the regularized incomplete beta function. It is never under 1/(t + 1), its value at w = 0. Every win raises
it and every loss lowers it. E is the mean of E₁ on either side.

Source: Robbins 1970 (Annals of Mathematical Statistics 41, 1397-1409) for the mixture.
"""

from __future__ import annotations

import math
import sys

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Values = NDArray[np.float64]


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


def log_e_of_d(d: Values) -> float:
    """ln E of d ``(n,)``."""
    return float(log_e_difference(np.count_nonzero(d > 0), np.count_nonzero(d < 0)))


def log_e_of_x(x: Values) -> float:
    """ln E₁ of x ``(n,)``."""
    return float(log_e_above(np.count_nonzero(x > 0), np.count_nonzero(x < 0)))


def log_e_at_most(n: int, *, two_sided: bool) -> float:
    """The largest ln E₁ (ln E if ``two_sided``) that n pairs can give: untied and of one sign."""
    return float((log_e_difference if two_sided else log_e_above)(n, 0))
