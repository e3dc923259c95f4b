"""What chance alone gives: the labels of arm and baseline are swapped within seeds, everything else stays the same.

If an arm did nothing, its run and the baseline's run of the same seed could just as well have exchanged names. Whatever
is picked or counted (the class that changed most, images that changed sides) is picked or counted again after each
swap; what that gives is the chance level *of these very seeds*. It is the null hypothesis of the sign-flip test of
verdicts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EXACT_UP_TO = (
    12  # seeds; beyond, as many swaps as 2¹² are drawn instead of all listed: each looks at every image
)
DRAWS = 4_095
SHUFFLES = 200
_CHUNK = 2_000  # images at a time

Signs = NDArray[np.float32]
Values = NDArray[np.float64]
Sides = NDArray[np.bool_]


def swaps(seeds: int, generator: np.random.Generator) -> Signs:
    """``(S, n)`` of 1 (as it was) and −1 (swapped): all 2ⁿ up to n = 12, else ``DRAWS`` of them after the identity."""
    if seeds <= EXACT_UP_TO:
        bits = (np.arange(2**seeds)[:, None] >> np.arange(seeds)) & 1
        return (1 - 2 * bits).astype(np.float32)
    drawn = 1 - 2 * generator.integers(0, 2, size=(DRAWS, seeds), dtype=np.int8)
    return np.vstack([np.ones((1, seeds)), drawn]).astype(np.float32)


def changed_sides(arm: Sides, baseline: Sides, signs: Signs) -> NDArray[np.int64]:
    """``(S,)``: after each swap, how many images most runs of one side get wrong and most of the other do not.

    ``arm`` and ``baseline`` ``(n, N)`` say which images each run got wrong, seed by seed. With w = Σ(arm + baseline)
    and x = Σ sᵢ(armᵢ − baselineᵢ) per image, the two sides are wrong where w + x > n and where w − x > n.
    """
    seeds = len(arm)
    both, apart = (arm.astype(np.float32) + sign * baseline for sign in (1, -1))
    moving = np.flatnonzero(apart.any(axis=0))  # an image that no pair disagrees on stays on its side
    counts = np.zeros(len(signs), np.int64)
    for start in range(0, len(moving), _CHUNK):
        part = moving[start : start + _CHUNK]
        total, x = both[:, part].sum(axis=0), signs @ apart[:, part]
        counts += ((total + x > seeds) != (total - x > seeds)).sum(axis=1)
    return counts


def largest_mean(d: Values, signs: Signs) -> Values:
    """``(S,)``: after each swap, the largest mean over seeds among ``d`` ``(n, K)``; the least is its mirror image."""
    largest: Values = (signs @ d / len(d)).max(axis=1)
    return largest


def max_t_p(d: Values, signs: Signs) -> Values:
    """p ``(K,)`` of each column of ``d`` ``(n, K)``, all of them tested together.

    T = |Σ sᵢdᵢ| / √Σdᵢ², whose denominator no swap changes; p is the share of swaps in which the largest T of all
    columns is at or above the column's own (single-step max-T, Westfall & Young 1993): the chance of any p ≤ α is at
    most α if nothing differs, whatever the dependence between columns. A missing pair is 0; a column of zeros has
    p = 1.
    """
    scale = np.sqrt((d**2).sum(axis=0))
    scaled = np.divide(d, scale, out=np.zeros_like(d), where=scale > 0)
    largest = np.abs(signs @ scaled).max(axis=1)
    own = np.abs(scaled.sum(axis=0))
    p: Values = (largest[:, None] >= own - 1e-9).mean(axis=0)
    return p


def alone_wrong(wrong: Sides, generator: np.random.Generator) -> float:
    """How many images an arm is alone to get wrong, on average over arms and over shuffles of labels within seeds.

    ``wrong`` is ``(A, n, N)``; an image is wrong for an arm where more than half of its runs get it wrong. ``SHUFFLES``
    draws of a random order of the arms for each seed.
    """
    arms, seeds = len(wrong), len(wrong[0])
    told_apart = wrong[:, :, np.flatnonzero(wrong.any(axis=(0, 1)))]
    order = np.tile(np.arange(arms), (seeds, 1))
    total = 0
    for _ in range(SHUFFLES):
        shuffled = told_apart[generator.permuted(order, axis=1).T, np.arange(seeds)]
        mostly = 2 * shuffled.sum(axis=1) > seeds
        total += int((mostly.sum(axis=0) == 1).sum())
    return total / (SHUFFLES * arms)
