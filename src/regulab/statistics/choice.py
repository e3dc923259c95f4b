"""Which of several strengths to take, from the scores that each had with the same seeds.

Scores x of shape ``(C, S)``: C candidates, the weakest first, × S seeds, and higher is better (validation accuracy, or
a loss with its sign turned). Let mᵢ be the mean of candidate i over seeds and b the candidate with the highest, of
equal ones the weakest.

``best``                takes b.
``one_standard_error``  takes the strongest i with mᵢ ≥ m_b − s_b/√S, where s_b is the standard deviation of b over
                        seeds (ddof = 1): the rule of Breiman et al. 1984, *Classification and Regression Trees*,
                        § 3.4.3, for the simplest model that is not clearly worse.

The bar is the best's own standard error, the same for all, and not that of the paired difference x_b − xᵢ, although
seeds are paired: a candidate that one seed loses widens the error of its own difference and would so lower its own bar.
Differences 0, 0, 10 have mean 3.3 and standard error 3.3: by the paired rule a strength that costs a third of its seeds
ten points would do.

``one_standard_error`` prefers what does no clear harm, and thereby bends what is measured afterwards: where strength
matters little, it takes a strong one whose true score is somewhat under the best's. Say so where it was used.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from regulab.errors import UserError
from regulab.streams import Streams

Rule = Literal["best", "one_standard_error"]
RESAMPLES = 10_000  # a frequency is within a percentage point of the whole bootstrap's, 95 times in 100
_EQUAL = 1e-9  # relative: means of equal accuracies in another order of summation differ by some 1e-16

Scores = NDArray[np.float64]


def choose(scores: Scores, rule: Rule) -> int:
    """The index of the chosen candidate; see the module for the rules.

    A candidate with a score that is not finite (a run diverged) is never chosen. Raises `UserError` where that leaves
    none, and for ``one_standard_error`` where there are fewer than two seeds.
    """
    return int(_chosen(scores, rule, np.ones((1, scores.shape[1])))[0])


def choice_frequencies(scores: Scores, rule: Rule, generator: np.random.Generator | None = None) -> Scores:
    """How often other seeds would choose each candidate, ``(C,)``, summing to 1: a bootstrap over seeds.

    ``RESAMPLES`` times S seeds are drawn from the S with replacement, all candidates of a seed together, and the rule
    chooses again. It knows no seed but these: with few of them it is a rough guess, and a candidate at which a
    run diverged stays out. The draws follow from ``generator``, by default always the same. Raises `UserError` as
    `choose` does, and for fewer than two seeds, which say nothing of others.
    """
    seeds = scores.shape[1]
    if seeds < 2:
        raise UserError(
            "one seed does not tell what other seeds would choose", got=seeds, expected="2 at least"
        )
    generator = generator or Streams("choice", 0).generator("bootstrap")
    counts = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES).astype(np.float64)
    chosen = _chosen(scores, rule, counts)
    frequencies: Scores = np.bincount(chosen, minlength=len(scores)) / RESAMPLES
    return frequencies


def _chosen(scores: Scores, rule: Rule, counts: Scores) -> NDArray[np.intp]:
    """What the rule chooses of each of B samples, ``(B,)``; ``counts`` ``(B, S)`` says how often each has each seed."""
    assert rule in get_args(Rule), rule
    seeds = scores.shape[1]
    finite = np.array([bool(np.isfinite(row).all()) for row in scores])
    if not finite.any():
        raise UserError(
            "no candidate can be chosen: at each of them a run diverged",
            got=f"{len(scores)} candidates without a finite score in every seed",
            cure="a lower learning rate, or weaker strengths",
        )
    if rule == "one_standard_error" and seeds < 2:
        raise UserError(
            "one standard error needs a spread over seeds", got=seeds, expected="2 seeds at least"
        )
    known = np.where(finite[:, None], scores, 0.0)
    means = np.where(finite, counts @ known.T / seeds, -np.inf)  # (B, C)
    highest = means.max(axis=1, keepdims=True)
    slack = _EQUAL * np.maximum(1, np.abs(highest))
    best: NDArray[np.intp] = (means >= highest - slack).argmax(axis=1)  # of equal ones the first, the weakest
    if rule == "best":
        return best
    of_best = known[best]  # (B, S)
    squares = (counts * (of_best - highest) ** 2).sum(axis=1, keepdims=True)
    error = np.sqrt(squares / (seeds - 1) / seeds)
    near = means >= highest - error - slack
    strongest: NDArray[np.intp] = len(scores) - 1 - near[:, ::-1].argmax(axis=1)
    return strongest
