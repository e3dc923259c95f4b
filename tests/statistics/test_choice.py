"""The rules that choose a strength: by hand, with runs that diverged, and how often other seeds choose otherwise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from regulab.errors import UserError
from regulab.statistics.choice import RESAMPLES, Rule, choice_frequencies, choose

RULES: tuple[Rule, ...] = ("best", "one_standard_error")
# Means 90, 92, 91.6, 91, 80; the best's standard deviation is 1 and its standard error 1/√3 = 0.577.
SCORES = np.array(
    [[89.0, 90, 91], [91.0, 92, 93], [91.0, 91.6, 92.2], [90.0, 91, 92], [79.0, 80, 81]], dtype=np.float64
)


def test_best_is_the_highest_mean_and_one_standard_error_the_strongest_near_it() -> None:
    assert choose(SCORES, "best") == 1
    assert choose(SCORES, "one_standard_error") == 2  # 91.6 ≥ 92 − 0.577; 91 is not


def test_the_bar_is_one_standard_error_and_no_more() -> None:
    scores = np.array([[91.0, 92, 93], [92 - 0.57] * 3, [92 - 0.58] * 3])
    assert choose(scores, "one_standard_error") == 1


def test_a_stronger_candidate_after_a_dip_counts() -> None:
    scores = np.array([[91.0, 92, 93], [80.0, 80, 80], [92.0, 91.5, 92]])
    assert choose(scores, "one_standard_error") == 2


def test_of_equal_means_the_weaker_is_best_whatever_the_order_of_summation() -> None:
    row = np.array([0.1, 0.2, 0.3, 97.7, 98.1])
    assert sum(row.tolist()) != sum(row[::-1].tolist())
    assert choose(np.stack([row, row[::-1], row]), "best") == 0
    assert choose(np.stack([row[::-1], row]), "best") == 0


def test_losses_come_with_their_sign_turned() -> None:
    assert choose(-np.array([[0.5, 0.4], [0.1, 0.2], [0.3, 0.3]]), "best") == 1


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("lost", [math.nan, -math.inf, math.inf])
def test_what_diverged_in_one_seed_is_never_chosen(rule: Rule, lost: float) -> None:
    scores = np.array([[90.0, 91], [99.0, lost], [99.0, 99.0 if lost < 0 else lost]])
    if lost < 0:
        scores[2] = lost
    assert choose(scores, rule) == 0
    assert choice_frequencies(scores, rule).tolist() == [1, 0, 0]


@pytest.mark.parametrize("rule", RULES)
def test_all_diverged_is_said(rule: Rule) -> None:
    with pytest.raises(UserError, match="at each of them a run diverged"):
        choose(np.full((3, 2), math.nan), rule)


def test_one_seed_has_a_best_and_nothing_else() -> None:
    scores = np.array([[90.0], [91.0]])
    assert choose(scores, "best") == 1
    with pytest.raises(UserError, match="needs a spread over seeds"):
        choose(scores, "one_standard_error")
    with pytest.raises(UserError, match="does not tell what other seeds would choose"):
        choice_frequencies(scores, "best")


@pytest.mark.parametrize("rule", RULES)
def test_frequencies_are_those_of_choosing_again_from_drawn_seeds(rule: Rule) -> None:
    """Against a plain loop that draws the seeds one by one: frequencies within four standard errors."""
    generator = np.random.default_rng(5)
    scores = np.cumsum(generator.normal(0, 0.3, (4, 6)), axis=0) + generator.normal(90, 1, 6)
    found = choice_frequencies(scores, rule)
    assert found.sum() == pytest.approx(1)
    times, counted = 3000, np.zeros(4)
    for _ in range(times):
        counted[choose(scores[:, generator.integers(0, 6, 6)], rule)] += 1
    share = counted / times
    error = np.sqrt(share * (1 - share) * (1 / times + 1 / RESAMPLES)) + 1e-3
    assert (abs(found - share) < 4 * error).all()
    assert (found > 0).sum() > 1


def test_two_seeds_that_disagree_exactly() -> None:
    """Each of two seeds twice: ¼ and ¼, and both: ½, in which the means are equal and the weaker is taken."""
    scores = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert choice_frequencies(scores, "best") == pytest.approx([0.75, 0.25], abs=0.02)


def test_the_same_scores_give_the_same_frequencies() -> None:
    assert choice_frequencies(SCORES, "best").tolist() == choice_frequencies(SCORES, "best").tolist()
