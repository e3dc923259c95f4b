"""Mean and Student t interval of a few runs.

Assumes independent values from a roughly normal distribution. A percentile bootstrap would assume
less, but over five seeds it covers about 84 % where 95 % is promised, so t it is.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Values = NDArray[np.float64]
Interval = tuple[float, float]


def mean_interval(values: Values, level: float = 0.95) -> Interval | None:
    """x̄ ± t·s/√n, with t the (1 + level)/2 quantile of Student's t at n − 1 degrees of freedom.

    ``values`` has shape ``(n,)``; s is the sample standard deviation (ddof = 1). None for n < 2: a
    single run says nothing of its spread. Source: Student 1908.
    """
    n = len(values)
    if n < 2:
        return None
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * deviation / math.sqrt(n)
    return mean - half, mean + half


def difference_interval(arm: Values, baseline: Values, level: float = 0.95) -> Interval | None:
    """The t interval of the mean of d = arm − baseline, paired entry by entry (same seed, same entry).

    Assumes that the differences are roughly normal; the two arms may be correlated at will, which is
    what pairing is for. None for fewer than two pairs.
    """
    assert arm.shape == baseline.shape, "paired values come in pairs"
    return mean_interval(arm - baseline, level)
