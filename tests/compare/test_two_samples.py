"""Two samples without pairs: Welch's interval and the permutation test, against scipy and by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from regulab.statistics.two_samples import (
    smallest_two_sample_p,
    two_sample_equivalence_p,
    two_sample_p,
    welch_interval,
)


def draws(n, m, shift=0.0, spread=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, n), rng.normal(0, spread, m)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (5, 9), (10, 4)])
def test_the_interval_is_welchs(n, m):
    x, y = draws(n, m, shift=2.0, spread=3.0)
    expected = stats.ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    assert welch_interval(x, y) == pytest.approx((expected.low, expected.high))


def test_the_interval_needs_two_runs_and_ends_where_the_metric_does():
    assert welch_interval(np.array([1.0]), np.array([1.0, 2.0])) is None
    assert welch_interval(np.array([3.0, 3.0]), np.array([1.0, 1.0])) == (2.0, 2.0)
    assert welch_interval(np.array([99.0, 60.0]), np.array([1.0, 50.0]), bounds=(-50, 60)) == (-50, 60)


@pytest.mark.parametrize(("n", "m"), [(3, 4), (5, 5), (6, 3)])
def test_p_counts_every_division(n, m):
    x, y = draws(n, m, shift=1.0)

    def welch(a, b, axis=-1):
        spread = a.var(axis=axis, ddof=1) / a.shape[axis] + b.var(axis=axis, ddof=1) / b.shape[axis]
        return np.abs(a.mean(axis=axis) - b.mean(axis=axis)) / np.sqrt(spread)

    expected = stats.permutation_test(
        (x, y), welch, n_resamples=np.inf, alternative="greater", vectorized=True
    )
    assert two_sample_p(x, y, np.random.default_rng(0)) == pytest.approx(expected.pvalue)


def test_separated_samples_have_the_least_p():
    x, y = np.arange(4.0) + 100, np.arange(4.0)
    generator = np.random.default_rng(0)
    for n, least in ((4, 2 / math.comb(8, 4)), (3, 1 / math.comb(7, 3))):
        assert smallest_two_sample_p(4, n) == pytest.approx(least)
        assert two_sample_p(x, y[:n], generator) == pytest.approx(least)
    assert smallest_two_sample_p(1, 9) == 1.0


def test_samples_that_do_not_vary():
    generator = np.random.default_rng(0)
    assert two_sample_p(np.ones(4), np.ones(4), generator) == 1.0
    assert two_sample_p(np.ones(4), np.zeros(4), generator) == pytest.approx(2 / math.comb(8, 4))


def test_equivalence_needs_both_sides():
    rng = np.random.default_rng(1)
    x, y = rng.normal(0, 0.1, 7), rng.normal(0, 0.1, 7)
    assert two_sample_equivalence_p(x, y, 1.0, rng) == pytest.approx(1 / math.comb(14, 7))
    assert two_sample_equivalence_p(x + 1.5, y, 1.0, rng) > 0.9
    assert two_sample_equivalence_p(x - 1.5, y, 1.0, rng) > 0.9


def test_many_runs_are_drawn_and_repeat():
    x, y = draws(14, 14, shift=0.8)
    first, second = (two_sample_p(x, y, np.random.default_rng(5)) for _ in range(2))
    assert first == second
    assert first == pytest.approx(stats.ttest_ind(x, y, equal_var=False).pvalue, abs=0.02)


def test_the_level_holds_where_values_can_be_exchanged():
    rng, generator = np.random.default_rng(2), np.random.default_rng(3)
    found = [two_sample_p(rng.exponential(size=5), rng.exponential(size=5), generator) for _ in range(800)]
    assert np.mean(np.array(found) < 0.05) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 800)
