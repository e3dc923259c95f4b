from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from regulab.statistics.equivalence import equivalence_p
from regulab.statistics.holm import holm
from regulab.statistics.sign_flip import EXACT_UP_TO, least_pairs, one_sided_p, smallest_p, two_sided_p

UNUSED = np.random.default_rng(0)  # exact tests draw nothing
DIFFERENCES = st.lists(st.integers(-9, 9), min_size=1, max_size=9).map(lambda x: np.array(x) / 7)


def test_six_of_one_sign_give_two_in_sixty_four():
    d = np.array([0.3, 0.1, 0.2, 0.5, 0.01, 0.4])
    assert two_sided_p(d, UNUSED) == two_sided_p(-d, UNUSED) == 2 / 64 == smallest_p(6)
    assert one_sided_p(d, UNUSED) == 1 / 64
    assert one_sided_p(-d, UNUSED) == 1


def test_all_tied_is_no_evidence():
    assert two_sided_p(np.zeros(8), UNUSED) == 1
    assert one_sided_p(np.zeros(8), UNUSED) == 1


def test_sums_equal_but_for_rounding_count_as_ties():
    d = np.array([0.1, 0.2, -0.3])  # 0.1 + 0.2 − 0.3 is 5.6e-17 in floating point
    assert two_sided_p(d, UNUSED) == 1


@given(DIFFERENCES)
def test_equals_the_definition(d):
    sums = [sum(s * x for s, x in zip(signs, d, strict=True)) for signs in product((1, -1), repeat=len(d))]
    expected = np.mean([abs(total) >= abs(d.sum()) - 1e-9 for total in sums])
    assert two_sided_p(d, UNUSED) == pytest.approx(expected)
    assert one_sided_p(d, UNUSED) == pytest.approx(np.mean([total >= d.sum() - 1e-9 for total in sums]))


def test_agrees_with_scipys_permutation_test():
    d = np.array([0.31, -0.12, 0.22, 0.57, -0.05, 0.41, 0.18])
    for alternative, ours in (("two-sided", two_sided_p), ("greater", one_sided_p)):
        theirs = stats.permutation_test(
            (d,), np.sum, permutation_type="samples", alternative=alternative, n_resamples=np.inf
        )
        assert ours(d, UNUSED) == pytest.approx(theirs.pvalue)


def test_is_wilcoxons_test_where_the_values_are_ranks():
    d = np.array([1.0, -2.0, 3.0, 4.0, 5.0, -6.0, 7.0, 8.0])
    assert two_sided_p(d, UNUSED) == pytest.approx(stats.wilcoxon(d, method="exact").pvalue)


@given(DIFFERENCES, st.floats(0.01, 100))
def test_scale_and_sign_do_not_matter(d, scale):
    assert two_sided_p(d * scale, UNUSED) == two_sided_p(d, UNUSED) == two_sided_p(-d, UNUSED)


def test_monte_carlo_is_near_the_normal_limit_and_repeats():
    d = np.random.default_rng(3).normal(0.35, 1, 40)
    p = two_sided_p(d, np.random.default_rng(1))
    z = abs(d.sum()) / np.sqrt((d**2).sum())
    assert p == pytest.approx(2 * stats.norm.sf(z), abs=0.005)
    assert p == two_sided_p(d, np.random.default_rng(1))


def test_monte_carlo_never_gives_zero():
    d = np.ones(EXACT_UP_TO + 9)
    assert two_sided_p(d, np.random.default_rng(0)) == smallest_p(len(d)) == 1e-5


def test_the_floor_is_six_seeds_for_a_difference_and_five_for_an_equivalence():
    assert [least_pairs(0.05, sides=sides) for sides in (2, 1)] == [6, 5]


def test_equivalence_needs_both_sides():
    near = np.array([0.02, -0.03, 0.01, 0.0, -0.01, 0.04])
    assert equivalence_p(near, 0.1, UNUSED) == 1 / 64
    assert equivalence_p(near + 0.3, 0.1, UNUSED) == 1  # the upper side fails, though the lower one passes
    assert equivalence_p(near - 0.3, 0.1, UNUSED) == 1


@given(DIFFERENCES, st.floats(0.01, 2))
def test_equivalence_is_symmetric_and_easier_with_a_wider_margin(d, margin):
    p = equivalence_p(d, margin, UNUSED)
    assert p == equivalence_p(-d, margin, UNUSED)
    assert equivalence_p(d, 2 * margin, UNUSED) <= p


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p_values):
    adjusted = holm(p_values)
    for p, q in zip(p_values, adjusted, strict=True):
        assert p <= q <= min(1, len(p_values) * p)
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)


def _flips(n: int) -> np.ndarray:
    return np.array(list(product((1.0, -1.0), repeat=n)))


@settings(deadline=None)
@given(st.sampled_from([1, 3]), st.integers(7, 9))
def test_size_of_sign_flip_with_holm_is_under_five_percent(tests, n):
    """Arms without effect that share a noisy baseline: any false verdict in at most 5 % of studies."""
    rng, repeats = np.random.default_rng(100 * tests + n), 1500
    noise = rng.standard_t(3, (repeats, tests, n)) - rng.standard_t(3, (repeats, 1, n))
    sums = noise @ _flips(n).T
    p = (np.abs(sums) >= np.abs(noise.sum(-1))[..., None] - 1e-9).mean(-1)
    assert p[0, 0] == two_sided_p(noise[0, 0], UNUSED)
    false = sum(min(holm(list(row))) < 0.05 for row in p)
    assert stats.binom.sf(false - 1, repeats, 0.05) > 1e-4
