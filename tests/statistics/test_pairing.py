import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from regulab.statistics.pairing import pairing_gain

POINTS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=3, max_size=12)

# Zero sum and orthogonal: what the arms share, and what each has of its own.
SHARED = np.array([1.0, 1, 1, 1, -1, -1, -1, -1])
OWN = np.array([1.0, 1, -1, -1, 1, 1, -1, -1])
OTHER = np.array([1.0, -1, 1, -1, 1, -1, 1, -1])


def test_a_shared_part_of_nine_tenths_is_worth_ten_times_the_seeds():
    gain = pairing_gain(99 + 3 * SHARED + OWN, 98 + 3 * SHARED + OTHER)
    assert gain.pairs == 8
    assert gain.correlation == pytest.approx(0.9)
    assert gain.paired_variance == pytest.approx(2 * 8 / 7)
    assert gain.independent_variance == pytest.approx(20 * 8 / 7)
    assert gain.independent_seeds == pytest.approx(80)


def test_uncorrelated_runs_save_nothing_and_opposed_ones_cost():
    assert pairing_gain(99 + OWN, 98 + OTHER).independent_seeds == pytest.approx(8)
    opposed = pairing_gain(99 + OWN, 99 - OWN)
    assert opposed.correlation == pytest.approx(-1)
    assert opposed.independent_seeds == pytest.approx(4)


def test_a_difference_that_varies_by_rounding_alone_has_no_number_of_seeds():
    arm, baseline = np.array([99.1, 99.2, 99.3, 98.7]), np.array([99.0, 99.1, 99.2, 98.6])
    assert np.ptp(arm - baseline) > 0
    gain = pairing_gain(arm, baseline)
    assert gain.independent_seeds is None
    assert gain.correlation == pytest.approx(1)


def test_an_arm_that_does_not_vary_has_no_correlation():
    gain = pairing_gain(np.full(4, 99.1), np.array([99.0, 99.2, 99.1, 98.9]))
    assert gain.correlation is None
    assert gain.independent_seeds == pytest.approx(4)
    constant = pairing_gain(np.full(4, 99.1), np.full(4, 99.0))
    assert constant.correlation is constant.independent_seeds is None


def test_two_pairs_always_lie_on_a_line():
    gain = pairing_gain(np.array([99.0, 99.3]), np.array([98.0, 98.1]))
    assert gain.correlation is None
    assert gain.independent_seeds == pytest.approx(2 * (0.045 + 0.005) / 0.02)


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_pairs_measure_nothing(n):
    assert pairing_gain(np.full(n, 99.0), np.full(n, 98.0)) is None


@given(POINTS)
def test_agrees_with_pearson_and_the_identity_of_variances(points):
    arm, baseline = np.array(points, float).T / 7
    gain, turned = pairing_gain(arm, baseline), pairing_gain(baseline, arm)
    assert gain.independent_seeds == pytest.approx(turned.independent_seeds)
    if gain.correlation is None:
        assert min(np.ptp(arm), np.ptp(baseline)) == 0
        return
    assert gain.correlation == pytest.approx(stats.pearsonr(arm, baseline).statistic, abs=1e-9)
    shared = 2 * gain.correlation * arm.std(ddof=1) * baseline.std(ddof=1)
    assert gain.paired_variance == pytest.approx(gain.independent_variance - shared, abs=1e-6)
    if gain.independent_seeds is not None:
        assert (gain.independent_seeds > gain.pairs) == (gain.paired_variance < gain.independent_variance)
