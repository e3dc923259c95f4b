"""Paired sign-flip permutation test: how unusual is the mean difference if every sign were a coin toss?

Under the null hypothesis each paired difference dᵢ is symmetric about zero, so all 2ⁿ sign vectors s
are equally likely and T(s) = Σ sᵢdᵢ has a known distribution: no normality, no equal variances. The
p-value is exact, P(p ≤ α) ≤ α. Source: Fisher 1935, The Design of Experiments, § 21.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EXACT_UP_TO = 16  # pairs; beyond, 2ⁿ sign vectors are drawn from instead of listed
DRAWS = 99_999  # p-values of the Monte Carlo test are multiples of 1/100,000
_CHUNK = 10_000

Values = NDArray[np.float64]


def two_sided_p(d: Values, generator: np.random.Generator) -> float:
    """P(|T(s)| ≥ |Σd|) under random signs, for d of shape ``(n,)``; the null: symmetric about 0.

    Every sign vector is enumerated up to n = 16. Above, ``DRAWS`` vectors come from ``generator`` and
    p = (1 + hits)/(1 + DRAWS), which keeps the test valid (Phipson & Smyth 2010).
    """
    return _share(np.abs(_sums(d, generator)), abs(float(d.sum())), d)


def one_sided_p(d: Values, generator: np.random.Generator) -> float:
    """P(T(s) ≥ Σd) under random signs; small when d lies above zero. The null: symmetric about c ≤ 0."""
    return _share(_sums(d, generator), float(d.sum()), d)


def smallest_p(n: int) -> float:
    """The least p that `two_sided_p` can give for n pairs: 2/2ⁿ when all differences have one sign."""
    return 2 / 2**n if n <= EXACT_UP_TO else 1 / (1 + DRAWS)


def least_pairs(tests: int, alpha: float) -> int:
    """The fewest pairs with which p can pass under α when Holm multiplies it by ``tests``."""
    n = 1
    while smallest_p(n) * tests >= alpha and n <= EXACT_UP_TO:
        n += 1
    return n


def _sums(d: Values, generator: np.random.Generator) -> Values:
    """T(s) of all 2ⁿ sign vectors, or of ``DRAWS`` random ones."""
    if len(d) <= EXACT_UP_TO:
        sums = np.zeros(1)
        for value in d:
            sums = np.concatenate([sums + value, sums - value])
        return sums
    drawn = []
    for start in range(0, DRAWS, _CHUNK):
        shape = (min(_CHUNK, DRAWS - start), len(d))
        drawn.append((2.0 * generator.integers(0, 2, size=shape, dtype=np.int8) - 1.0) @ d)
    return np.concatenate(drawn)


def _share(sums: Values, observed: float, d: Values) -> float:
    """Share of ``sums`` at or above ``observed``, where sums that differ by rounding alone are equal.

    Accuracies are multiples of one image, so ties are common and must count as ties.
    """
    hits = int(np.count_nonzero(sums >= observed - 1e-9 * float(np.abs(d).sum())))
    exact = len(d) <= EXACT_UP_TO
    return hits / len(sums) if exact else (1 + hits) / (1 + len(sums))
