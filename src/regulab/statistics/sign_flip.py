"""Paired sign-flip permutation test: how unusual is the mean difference if every sign were a coin toss?

Under the null hypothesis each paired difference dᵢ is symmetric about zero, so all 2ⁿ sign vectors s
are equally likely and T(s) = Σ sᵢdᵢ has a known distribution: no normality, no equal variances. The
p-value is exact, P(p ≤ α) ≤ α. Source: Fisher 1935, The Design of Experiments, § 21.

**Whole numbers** (differences counted in test images; arrays of integers) are exact for any n, without listing 2ⁿ
vectors. Let aᵢ = |dᵢ| and A = Σaᵢ. A flipped sum is T = A − 2U, where U is the sum of the aᵢ that got a minus, each
with probability ½. So P(T ≥ t) = P(U ≤ (A − t)/2), and the distribution of U is built term by term:

    P₀(u) = [u = 0],   Pᵢ(u) = ½·Pᵢ₋₁(u) + ½·Pᵢ₋₁(u − aᵢ),

of which only u ≤ (A − t)/2 is needed, as no aᵢ is negative. All are multiples of 2⁻ⁿ, so a float64 holds them exactly
up to n = 52; beyond, only positive numbers are added and the relative error stays under n·2⁻⁵². It takes n·(A − t)/2
additions: fifty thousand for 100 seeds that differ by 10 images each.

**Real numbers** (losses, norms) are enumerated to n = 16; above, ``DRAWS`` random sign vectors stand for all of them.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulab.errors import UserError

# Pairs of real numbers; beyond, sign vectors are drawn rather than listed: 2¹⁶ are fewer than ``DRAWS``, 2¹⁷ are more.
EXACT_UP_TO = 16
DRAWS = 99_999  # p-values of the Monte Carlo test are multiples of 1/100,000
MOST_ADDITIONS = 5 * 10**9  # some seconds; whole numbers that need more are drawn from as real ones are
_CHUNK = 10_000

Values = NDArray[np.float64]
Differences = NDArray[Any]  # (n,), of floats, or of whole numbers where the test is to be exact


def two_sided_p(d: Differences, generator: np.random.Generator) -> float:
    """P(|T(s)| ≥ |Σd|) under random signs, for d of shape ``(n,)``; the null: symmetric about 0.

    Exact for whole numbers and up to n = 16. Above, ``DRAWS`` vectors come from ``generator`` and
    p = (1 + hits)/(1 + DRAWS), which keeps the test valid (Phipson & Smyth 2010). Raises `UserError` where a
    difference is not finite.
    """
    _refuse_non_finite(d)
    observed = abs(d.sum())
    if is_whole(d):
        exact = _chance_of_reaching(d, int(observed))
        if exact is not None:
            return min(1.0, 2 * exact)  # P(T ≥ t) = P(T ≤ −t); for t = 0 all of it is 1
    return _share(np.abs(_sums(d, generator)), observed, d)


def one_sided_p(d: Differences, generator: np.random.Generator) -> float:
    """P(T(s) ≥ Σd) under random signs; small when d lies above zero. The null: symmetric about c ≤ 0."""
    _refuse_non_finite(d)
    if is_whole(d):
        exact = _chance_of_reaching(d, int(d.sum()))
        if exact is not None:
            return exact
    return _share(_sums(d, generator), d.sum(), d)


def smallest_p(n: int, *, sides: int = 2) -> float:
    """The least p that n pairs can give, when all differences have one sign: 2/2ⁿ; 1/2ⁿ by a one-sided test."""
    return sides / 2**n if n <= EXACT_UP_TO else 1 / (1 + DRAWS)


def least_pairs(alpha: float, *, sides: int = 2) -> int:
    """The fewest pairs with which p can pass under α, of however many arms."""
    n = 1
    while smallest_p(n, sides=sides) >= alpha and n <= EXACT_UP_TO:
        n += 1
    return n


def is_whole(d: Differences) -> bool:
    """Whether ``d`` are whole numbers, by their type: floats that happen to be whole are measured numbers."""
    return bool(np.issubdtype(d.dtype, np.integer))


def _refuse_non_finite(d: Differences) -> None:
    if not np.isfinite(d).all():
        bad = int(np.flatnonzero(~np.isfinite(d))[0])
        raise UserError(
            f"difference {bad + 1} of {len(d)} is not finite", got=float(d[bad]), expected="finite numbers"
        )


def _chance_of_reaching(d: Differences, total: int) -> float | None:
    """P(T(s) ≥ total) for whole d, never 0 where ``total`` can be reached; None where it would take too long."""
    sizes = np.sort(np.abs(d[d != 0].astype(np.int64)))
    step = int(np.gcd.reduce(sizes)) if len(sizes) else 1
    sizes, total = sizes // step, -(-total // step)
    most = (int(sizes.sum()) - total) // 2  # a sum of minuses above this keeps T under ``total``
    if most < 0:
        return 0.0
    if len(sizes) * (most + 1) > MOST_ADDITIONS:
        return None
    chance = np.zeros(most + 1)
    chance[0] = 1.0
    for size in sizes.tolist():
        chance *= 0.5
        if size <= most:
            chance[size:] += chance[:-size]  # numpy reads the old values where the two overlap
    return max(float(chance.sum()), sys.float_info.min)


def _sums(d: Differences, generator: np.random.Generator) -> Differences:
    """T(s) of all 2ⁿ sign vectors, or of ``DRAWS`` random ones."""
    if len(d) <= EXACT_UP_TO:
        sums = np.zeros(1, dtype=d.dtype)
        for value in d:
            sums = np.concatenate([sums + value, sums - value])
        return sums
    drawn = []
    for start in range(0, DRAWS, _CHUNK):
        shape = (min(_CHUNK, DRAWS - start), len(d))
        signs = 2 * generator.integers(0, 2, size=shape, dtype=np.int8) - 1
        drawn.append(signs.astype(d.dtype) @ d)
    return np.concatenate(drawn)


def _share(sums: Differences, observed: float, d: Differences) -> float:
    """Share of ``sums`` at or above ``observed``, where real sums that differ by rounding alone are equal."""
    rounding = 0 if is_whole(d) else 1e-9 * float(np.abs(d).sum())
    hits = int(np.count_nonzero(sums >= observed - rounding))
    exact = len(d) <= EXACT_UP_TO
    return hits / len(sums) if exact else (1 + hits) / (1 + len(sums))
