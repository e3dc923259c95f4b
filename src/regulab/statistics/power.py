"""How many seeds a comparison needs before it can be expected to decide."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from regulab.statistics.sign_flip import EXACT_UP_TO, least_pairs

DRAWS = 20_000
ENOUGH_TO_APPROXIMATE = 500  # seeds; from here on the normal formula is right to one in a hundred


def power(n: int, effect: float, alpha: float, tests: int = 1) -> float:
    """Chance that n pairs show the difference of an arm, for normal d with mean/sd ``effect``.

    For one arm it is that of the two-sided sign-flip test giving p < α. A t test at the level that n pairs can attain,
    k·2/2ⁿ with the largest k that stays under α, comes close (within 0.06 for n = 8, 0.02 from n = 9 on; simulated in
    the tests). Where only k = 1 is left, the test rejects exactly when all signs agree, which has probability
    Φ(effect)ⁿ + Φ(−effect)ⁿ.

    For one of m = ``tests`` arms of which no other differs, the worst case of the step-down, every other arm has k − 1
    flips of a smaller p than k·2/2ⁿ, which count against it, so k + (m − 1)(k − 1) must stay under α·2ⁿ/2. That, or a
    t test at α/m where this is less, comes close (within 0.09 from n = 6 on). With k = 1 the flip of every other arm
    in which all its signs agree counts too, where its U = Σ|d|/√Σd² is larger: see `_at_floor`.
    """
    attainable = math.ceil((alpha * 2 ** (n - 1) + tests - 1) / tests) - 1 if n <= EXACT_UP_TO else None
    if attainable == 1 and tests > 1:
        found = _at_floor(n, effect, alpha, tests)
    else:
        found = _at_rank(n, effect, alpha, attainable)
    return found if tests == 1 or found == 0 else min(found, _t_power(n, effect, alpha / tests))


def _at_floor(n: int, effect: float, alpha: float, tests: int) -> float:
    """The chance that all signs of an arm agree and that, of the other arms, which do nothing, no more have a larger U
    than leaves (1 + as many)·2/2ⁿ under α. By `DRAWS` fixed draws (a standard error of 0.004 at most).
    """
    generator = np.random.default_rng(0)
    mine = generator.normal(effect, 1, (DRAWS, n))
    others = np.sort(_self_normalized(np.abs(generator.normal(size=(DRAWS, n)))))
    agree = np.abs(np.sign(mine).sum(1)) == n
    larger = 1 - np.searchsorted(others, np.abs(_self_normalized(mine))) / DRAWS
    allowed = math.ceil(alpha * 2 ** (n - 1)) - 2
    return float(np.mean(agree * stats.binom.cdf(allowed, tests - 1, larger)))


def _self_normalized(d: NDArray[np.float64]) -> NDArray[np.float64]:
    """U = Σd/√Σd² of each row."""
    found: NDArray[np.float64] = d.sum(1) / np.sqrt(np.square(d).sum(1))
    return found


def _at_rank(n: int, effect: float, alpha: float, attainable: int | None) -> float:
    """The power of the test whose p is at most ``attainable``·2/2ⁿ."""
    if attainable == 0:
        return 0.0
    if attainable == 1:
        agree: float = stats.norm.cdf(effect) ** n + stats.norm.cdf(-effect) ** n
        return agree
    level = alpha if attainable is None else attainable * 2 / 2**n
    return _t_power(n, effect, level)


def _t_power(n: int, effect: float, level: float) -> float:
    critical, shift = stats.t.isf(level / 2, n - 1), effect * math.sqrt(n)
    chance: float = stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift)
    return chance


def seeds_needed(spread: float, margin: float, tests: int, alpha: float = 0.05, target: float = 0.8) -> int:
    """The fewest pairs that detect a true difference of one margin with probability ``target``.

    ``spread`` is the sample standard deviation of the paired differences, in the unit of ``margin``.
    The rule is the deciding one: sign flips, stepped down over ``tests`` arms, in the worst case for an arm, that no
    other differs. The observed difference plays no part: power at the observed effect only restates p
    (Hoenig & Heisey 2001).
    """
    assert margin > 0, "a margin is positive"
    n = least_pairs(alpha)
    if spread == 0:
        return n
    effect = margin / spread
    quantiles = stats.norm.isf(alpha / tests / 2) + stats.norm.ppf(target)
    rough = float((quantiles / effect) ** 2)
    if rough > ENOUGH_TO_APPROXIMATE:
        return math.ceil(rough)
    while power(n, effect, alpha, tests) < target:
        n += 1
    return n
