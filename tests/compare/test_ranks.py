"""Ranks over datasets against scipy's Friedman test and studentized range, and Demšar's own tables."""

import numpy as np
import pytest
from scipy import stats

from regulab.statistics.ranks import critical_difference, friedman_test, groups_within, ranking


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("digits", [6, 0])
def test_friedman_is_scipys_ties_included(digits):
    values = np.round(np.random.default_rng(1).normal(size=(9, 4)) * 2, digits)
    ranked = ranking(values, rng(), higher_is_better=True)
    expected = stats.friedmanchisquare(*values.T)
    assert ranked.friedman is not None
    assert ranked.friedman.statistic == pytest.approx(expected.statistic)
    assert ranked.friedman.p_chi2 == pytest.approx(expected.pvalue)
    assert ranked.friedman.p == pytest.approx(expected.pvalue, abs=0.05)


def test_counted_orders_are_exact_where_all_datasets_agree():
    """Five datasets that rank three arms alike: of 6⁵ divisions, 6 agree."""
    ranks = np.tile([1.0, 2.0, 3.0], (5, 1))
    assert friedman_test(ranks, rng()).p == pytest.approx(6 / 6**5, abs=4e-4)
    assert friedman_test(np.full((5, 3), 2.0), rng()).p == 1.0


@pytest.mark.parametrize(("arms", "q"), [(3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (10, 3.164)])
def test_the_critical_difference_has_the_quantiles_of_demsars_table(arms, q):
    assert critical_difference(arms, 14) == pytest.approx(q * np.sqrt(arms * (arms + 1) / 84), rel=5e-4)


def test_demsars_example():
    """Four variants of C4.5 on fourteen datasets: average ranks 3.143, 2.000, 2.893, 1.964 and CD 1.25."""
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    groups = groups_within([3.143, 2.000, 2.893, 1.964], critical_difference(4, 14))
    assert groups == ((3, 1, 2, 0),)
    assert groups_within([3.143, 2.000, 2.893, 1.964], 1.0) == ((3, 1, 2), (2, 0))


def test_groups_are_the_longest_ones():
    assert groups_within([1.0, 1.5, 2.0, 4.0], 1.0) == ((0, 1, 2),)
    assert groups_within([1.0, 2.5, 4.0], 1.0) == ()
    assert groups_within([1.0, 1.0], 0.5) == ((0, 1),)


def test_lower_is_better_for_losses_equal_means_share_ranks_and_what_diverged_is_last():
    values = np.array([[0.1, 0.3, 0.2], [0.1 + 0.2, 0.3, np.nan]])
    ranked = ranking(values, rng(), higher_is_better=False)
    assert ranked.ranks == ((1.0, 3.0, 2.0), (1.5, 1.5, 3.0))
    assert ranked.average == (1.25, 2.25, 2.5)


@pytest.mark.parametrize(("shape", "why"), [((4, 4), "4 datasets are too few"), ((6, 2), "2 arms")])
def test_too_little_is_ranked_and_not_tested(shape, why):
    ranked = ranking(np.random.default_rng(1).normal(size=shape), rng(), higher_is_better=True)
    assert (ranked.friedman, ranked.critical_difference, ranked.groups) == (None, None, ())
    assert ranked.untested is not None
    assert ranked.untested.startswith(why)
    assert len(ranked.ranks) == shape[0]
