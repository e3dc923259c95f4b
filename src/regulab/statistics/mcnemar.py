"""McNemar's exact test: do two trained models differ on this test set?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """The images on which two models disagree, and the p of so uneven a split."""

    only_arm_right: int
    only_baseline_right: int
    p: float


def mcnemar(arm_right: NDArray[np.bool_], baseline_right: NDArray[np.bool_]) -> McNemar:
    """Exact McNemar from which test images ``(N,)`` each model classified correctly.

    Images that both models get right, or both wrong, say nothing of the difference. If the models had the same
    accuracy on the population of images, each of the k others would be a coin toss, so

        p = P(|X − k/2| ≥ |b − k/2|) with X ~ Binomial(k, ½) and b = ``only_arm_right``;

    p = 1 for k = 0. Assumes that images are independent draws.

    Limits: the test speaks of *these two trained models* on images like these, not of their arms. Two models of one
    arm differ as well, from seed to seed, and this test cannot tell the one kind of difference from the other. So
    it gives no verdict, and stands where a single seed allows no test over seeds. Source: McNemar 1947,
    Psychometrika 12, 153-157.
    """
    assert arm_right.shape == baseline_right.shape, "the same images for both models"
    only_arm = int(np.count_nonzero(arm_right & ~baseline_right))
    only_baseline = int(np.count_nonzero(baseline_right & ~arm_right))
    disagreements = only_arm + only_baseline
    p = float(stats.binomtest(only_arm, disagreements).pvalue) if disagreements else 1.0
    return McNemar(only_arm_right=only_arm, only_baseline_right=only_baseline, p=p)
