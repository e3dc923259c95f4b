"""How much of the spread between seeds is real, and how much the finite test set adds.

Cᵢ ∈ {0, 1} says whether a run gets test image i of N right; it varies over seeds, and the run's accuracy is
A = Σᵢ Cᵢ/N. Were the test set the whole population, a run's accuracy would be A* = 𝔼ₓ[Cₓ], and the question is
Var(A*) over seeds. With x and x′ two independent images of the population,

    Var(A*) = Cov(𝔼ₓ[Cₓ], 𝔼ₓ′[Cₓ′]) = 𝔼ₓ,ₓ′[Cov(Cₓ, Cₓ′)].

Test images are independent draws, so every pair i ≠ j estimates this without bias, and so does the mean over pairs. The
sum of all covariances is N²·Var(A); take away the N variances on its diagonal:

    Var(A*) ≈ 1/(N(N − 1)) · Σ_{i≠j} Cov(Cᵢ, Cⱼ)
            = 1/(N(N − 1)) · [N²·Var(A) − Σᵢ Var(Cᵢ)]
            = N/(N − 1) · [Var(A) − Σᵢ Var(Cᵢ)/N²].

Sample variances over seeds (ddof = 1) are unbiased and the formula is linear in them, so the estimate is unbiased.
Source: Jordan 2023 (arXiv 2304.01910).

**Negative estimates.** An unbiased estimate of a small variance must sometimes fall below zero. It then says that
accuracies varied no more than they would if every image changed sides on its own: with these seeds, no run-to-run
variance is seen beyond what the test set causes. It is not cut off at zero here, as that would bias averages over arms
or studies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class NoiseSplit:
    """Variances over seeds, in squared percentage points; ``observed`` ≈ ``test_set`` + ``run_to_run``.

    Exactly: run_to_run = N/(N − 1)·(observed − test_set). Square roots are points of accuracy.
    """

    observed: float  # Var(A), of the accuracies as measured
    test_set: float  # Σᵢ Var(Cᵢ)/N², were the images to change sides independently
    run_to_run: float  # Var(A*), may be negative


def noise_split(right: NDArray[np.bool_]) -> NoiseSplit | None:
    """Splits the variance of accuracy, from which images each run got right, ``(seeds, N)``, N ≥ 2.

    All runs are of one arm on the same N test images. None for fewer than two seeds.
    """
    seeds, images = right.shape
    assert images > 1, "a single image has no pairs"
    if seeds < 2:
        return None
    observed = float(right.mean(axis=1).var(ddof=1))
    hits = right.sum(axis=0)
    flips = int((hits * (seeds - hits)).sum()) / (seeds * (seeds - 1))  # Σᵢ Var(Cᵢ), from counts
    test_set = flips / images**2
    squared_points = 100.0**2
    return NoiseSplit(
        observed=squared_points * observed,
        test_set=squared_points * test_set,
        run_to_run=squared_points * images / (images - 1) * (observed - test_set),
    )
