import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from regulab.statistics.intervals import (
    PERCENT,
    POINTS,
    bounds_of,
    bounds_of_difference,
    difference_interval,
    is_cut,
    mean_interval,
)


def test_two_values_by_hand():
    # s = √2 for 1 and 3, so the half width is t·s/√2 = t, and t(0.975, 1) is 12.706.
    assert mean_interval(np.array([1.0, 3.0])) == pytest.approx((2 - 12.7062, 2 + 12.7062), abs=1e-4)


def test_agrees_with_scipy():
    values = np.array([99.1, 99.3, 98.9, 99.25, 99.4])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert mean_interval(values, 0.9) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("values", [[], [99.0]])
def test_a_single_run_has_no_interval(values):
    assert mean_interval(np.array(values)) is None


def test_a_shared_component_drops_out_of_the_difference():
    luck = np.array([5.0, -3.0, 1.0, 0.5])
    arm, baseline = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.5, 1.0, 2.5, 3.0])
    paired = difference_interval(arm + luck, baseline + luck)
    assert paired == pytest.approx(difference_interval(arm, baseline))
    assert paired == pytest.approx(mean_interval(arm - baseline))


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12), st.floats(-50, 50))
def test_shifts_with_the_data(values, shift):
    low, high = mean_interval(np.array(values))
    assert low <= np.mean(values) + 1e-9
    assert high >= np.mean(values) - 1e-9
    assert mean_interval(np.array(values) + shift) == pytest.approx((low + shift, high + shift), abs=1e-6)


@pytest.mark.parametrize("n", [3, 5, 10, 30])
def test_covers_the_mean_as_often_as_it_says(n):
    rng, repeats = np.random.default_rng(n), 4000
    intervals = [mean_interval(values) for values in rng.normal(7, 2, (repeats, n))]
    hits = sum(low <= 7 <= high for low, high in intervals)
    assert 1e-4 < stats.binom.cdf(hits, repeats, 0.95) < 1 - 1e-4


@pytest.mark.parametrize(
    ("metric", "own", "apart"),
    [
        ("test_accuracy", (0, 100), (-100, 100)),
        ("balanced_accuracy", (0, 100), (-100, 100)),
        ("zero_fraction", (0, 1), (-1, 1)),
        ("test_loss", (0, math.inf), (-math.inf, math.inf)),
        ("seconds", (0, math.inf), (-math.inf, math.inf)),
    ],
)
def test_what_a_metric_can_be(metric, own, apart):
    assert bounds_of(metric) == own
    assert bounds_of_difference(metric) == apart


def test_an_interval_stays_within_what_the_measure_can_be():
    """99 and 100 %: 99.5 ± 12.7062 · 0.5. The end inside stays where it was."""
    values = np.array([99.0, 100.0])
    low, high = mean_interval(values, bounds=PERCENT)
    assert low == mean_interval(values)[0] == pytest.approx(99.5 - 6.3531, abs=1e-4)
    assert high == 100
    assert is_cut((low, high), PERCENT)
    assert difference_interval(np.array([0.0, 100]), np.array([100.0, 0]), bounds=POINTS) == POINTS


def test_an_interval_without_width_is_not_cut():
    assert not is_cut(mean_interval(np.array([100.0, 100.0]), bounds=PERCENT), PERCENT)
    assert not is_cut((98.0, 99.0), PERCENT)
    assert not is_cut(None, PERCENT)


def test_cutting_costs_no_coverage():
    """Of accuracies near 100 % the mean lies within 0 and 100, so that what is cut off never held it."""
    rng = np.random.default_rng(5)
    for values in 100 * rng.binomial(50, 0.985, (300, 4)) / 50:
        whole, cut = mean_interval(values), mean_interval(values, bounds=PERCENT)
        assert (whole[0] <= 98.5 <= whole[1]) == (cut[0] <= 98.5 <= cut[1])
