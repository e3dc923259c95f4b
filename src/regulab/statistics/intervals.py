"""Mean and Student t interval of a few runs.

Assumes independent values from a roughly normal distribution. A percentile bootstrap would assume
less, but over five seeds it covers about 84 % where 95 % is promised, so t it is.

A t interval knows nothing of a measure's range: around 99.9 % it may reach to 100.4. So intervals are cut at what the
measure can be. A mean lies within that range itself, so that the cut interval covers it exactly as often as the whole
one. A transform of the scale (logit) would leave no interval where a run has 100 %.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from regulab.config.metrics import BRIER, ECE

Values = NDArray[np.float64]
Interval = tuple[float, float]
Bounds = tuple[float, float]
PERCENT, POINTS = (0.0, 100.0), (-100.0, 100.0)  # what accuracies can be, and what they can differ by
UNIT, NOT_NEGATIVE, ANY = (0.0, 1.0), (0.0, math.inf), (-math.inf, math.inf)
UP_TO_TWO = (0.0, 2.0)


def bounds_of(metric: str) -> Bounds:
    """What a metric can be; none of them can be negative."""
    if metric.endswith("accuracy"):
        return PERCENT
    if metric == BRIER:
        return UP_TO_TWO
    return UNIT if metric.endswith("fraction") or metric == ECE else NOT_NEGATIVE


def bounds_of_difference(metric: str) -> Bounds:
    """What two runs can differ by."""
    high = bounds_of(metric)[1]
    return -high, high


def is_cut(interval: Interval | None, bounds: Bounds) -> bool:
    """Whether the measure's range ends the interval: no interval of any width reaches an end by itself."""
    return (
        interval is not None
        and interval[0] < interval[1]
        and (interval[0] == bounds[0] or interval[1] == bounds[1])
    )


def mean_interval(values: Values, level: float = 0.95, *, bounds: Bounds = ANY) -> Interval | None:
    """x̄ ± t·s/√n, cut at ``bounds``, with t the (1 + level)/2 quantile of Student's t at n − 1 degrees of freedom.

    ``values`` has shape ``(n,)``; s is the sample standard deviation (ddof = 1). None for n < 2: a
    single run says nothing of its spread. Source: Student 1908.
    """
    n = len(values)
    if n < 2:
        return None
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * deviation / math.sqrt(n)
    return max(mean - half, bounds[0]), min(mean + half, bounds[1])


def difference_interval(
    arm: Values, baseline: Values, level: float = 0.95, *, bounds: Bounds = ANY
) -> Interval | None:
    """The t interval of the mean of d = arm − baseline, paired entry by entry (same seed, same entry).

    Assumes that the differences are roughly normal; the two arms may be correlated at will, which is
    what pairing is for. None for fewer than two pairs.
    """
    assert arm.shape == baseline.shape, "paired values come in pairs"
    return mean_interval(arm - baseline, level, bounds=bounds)
