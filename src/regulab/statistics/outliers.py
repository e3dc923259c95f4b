"""Seeds that stand apart: tests of a mean cannot cope with a lost run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FEWEST = 5  # pairs; among fewer, which ones are the others?
FAR = 10.0  # robust standard deviations
_NORMAL = 1.4826  # standard deviation of a normal variable over its median absolute deviation


def far_from_the_rest(d: NDArray[np.float64], step: float) -> list[int]:
    """Positions in ``d`` ``(n,)`` farther than ten robust standard deviations from the median; none for n < 5.

    The scale is 1.4826 times the median absolute deviation from the median, which up to half of the values may upset
    at will, and at least ``step``, the smallest step that d can take (one image; 0 where there is none).

    Ten is far: among normal differences of 7 seeds 1 in 80 sets has one, of 10 seeds 1 in 500; with Student's t of 3
    degrees of freedom 1 in 25 (simulated in the tests). Training that now and then goes wrong leaves such seeds: it
    makes d asymmetric, and sign flips and t intervals promise nothing then.
    """
    if len(d) < FEWEST:
        return []
    away = np.abs(d - np.median(d))
    scale = max(_NORMAL * float(np.median(away)), step)
    return [int(place) for place in np.flatnonzero(away > FAR * scale)]
