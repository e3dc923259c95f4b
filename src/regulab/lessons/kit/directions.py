"""Paired comparisons of what a lesson measures beside the endpoint: gaps, losses, correlations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from regulab.statistics.holm import holm
from regulab.statistics.intervals import ANY, Bounds, mean_interval
from regulab.statistics.sign_flip import two_sided_p
from regulab.statistics.verdicts import ALPHA

Values = NDArray[np.float64]


def directions(differences: Mapping[str, Values]) -> dict[str, str]:
    """``higher``, ``lower`` or ``undecided`` for each family of paired differences ``(S,)``, one entry a seed.

    Two-sided sign-flip tests of the mean, Holm-adjusted over the mapping, at α = 0.05, as lessons say. Seeds whose
    difference is nan (a run diverged) are left out.
    """
    finite = {key: d[np.isfinite(d)] for key, d in differences.items()}
    p = holm([two_sided_p(d, np.random.default_rng(0)) for d in finite.values()])
    return {
        key: "undecided" if own >= ALPHA else "higher" if d.mean() > 0 else "lower"
        for (key, d), own in zip(finite.items(), p, strict=True)
    }


def interval_text(values: Values, digits: int = 1, bounds: Bounds = ANY) -> str:
    """Mean and 95 % t interval as printed: ``5.3 [4.1, 6.5]``, of a measure that can be within ``bounds``."""
    interval = mean_interval(values, bounds=bounds)
    mean = f"{values.mean():.{digits}f}"
    if interval is None:
        return mean
    return f"{mean} [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"
