"""Equivalence by two one-sided tests: the difference lies inside (−margin, +margin)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regulab.statistics.sign_flip import one_sided_p


def equivalence_p(d: NDArray[np.float64], margin: float, generator: np.random.Generator) -> float:
    """The larger p of the one-sided sign-flip tests that d + margin > 0 and that margin − d > 0.

    ``d`` are paired differences ``(n,)`` in the unit of ``margin``. Both nulls (too low, too high)
    must be rejected, and an intersection of tests needs no correction, so the larger p is the p of
    "not equivalent". Assumes differences symmetric about their centre. Source: Schuirmann 1987.
    """
    too_low = one_sided_p(d + margin, generator)
    too_high = one_sided_p(margin - d, generator)
    return max(too_low, too_high)
