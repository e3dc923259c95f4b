"""How few seeds can show what: a difference needs 2/2ⁿ under α, an equivalence 1/2ⁿ; below, no p is printed."""

import numpy as np
import pytest

from regulab.statistics import compare
from regulab.statistics.paired import paired_verdicts
from regulab.statistics.sign_flip import least_pairs, smallest_p
from tests.cases.test_whole_images import study

OTHERS = {1: ["l1"], 3: ["l1", "l2", "l1+l2"], 7: ["l1", *(f"l2 {i}" for i in range(6))]}


def with_seeds(tests, n, by=0, images=10_000):
    """Arms that get ``by`` images more wrong than the baseline in each of n seeds, give or take one."""
    base = [40 + seed % 3 for seed in range(n)]
    arms = {arm: [wrong + by + seed % 2 for seed, wrong in enumerate(base)] for arm in OTHERS[tests]}
    return compare(study({"none": base, **arms}, images)).arms


@pytest.mark.parametrize("tests", OTHERS)
def test_the_fewest_seeds_for_either_verdict(tests):
    """Whatever the number of arms."""
    equal_from, different_from = least_pairs(0.05, sides=1), least_pairs(0.05)
    assert (equal_from, different_from) == (5, 6)
    for n in (equal_from - 1, equal_from, different_from):
        same, worse = with_seeds(tests, n)["l1"], with_seeds(tests, n, by=50)["l1"]
        assert same.verdict == ("equivalent" if n >= equal_from else "undecided")
        assert worse.verdict == ("worse" if n >= different_from else "undecided")
        assert (same.equivalence_p_adjusted is None) == (n < equal_from)
        if n >= equal_from:
            assert same.equivalence_p_adjusted == 1 / 2**n < 0.05
            assert same.equivalence_p_holm == tests / 2**n
        if n >= different_from:
            assert worse.p_adjusted == 2 / 2**n < 0.05
            assert worse.p_holm == tests * 2 / 2**n


def test_a_p_that_cannot_reach_alpha_is_not_printed_but_explained():
    one = with_seeds(3, 5, by=50)["l1"]
    assert (one.p, one.p_holm, one.p_adjusted) == (None, None, None)
    assert one.note == (
        "with 5 seeds p cannot fall under 0.05: the smallest is 0.0625; "
        "6 seeds are the fewest that can show a difference, 5 the fewest that can show equivalence"
    )
    assert "p cannot fall under 0.05" in with_seeds(1, 5)["l1"].note


def test_the_floors_by_hand():
    assert [smallest_p(n) for n in (1, 5, 6)] == [1, 2 / 32, 2 / 64]
    assert [smallest_p(n, sides=1) for n in (1, 5, 6)] == [1 / 2, 1 / 32, 1 / 64]


def test_families_of_other_numbers_know_both_floors():
    d, rng = np.array([0.02, -0.01, 0.03, 0.01, -0.02]), np.random.default_rng(0)
    assert paired_verdicts({"a": d}, 0.1, rng) == {"a": "equivalent"}
    assert paired_verdicts({"a": d + 1}, 0.1, rng) == {"a": "undecided"}
    assert paired_verdicts({"a": d, "b": d}, 0.1, rng) == {"a": "equivalent", "b": "equivalent"}


@pytest.mark.parametrize("n", [1, 2, 3])
def test_one_two_and_three_seeds_have_numbers_and_no_verdict(n):
    one = with_seeds(3, n)["l1"]
    assert (one.verdict, one.p, one.equivalence_p_holm, one.pairs) == ("undecided", None, None, n)
    assert (one.difference_ci95 is None) == (n == 1)
    assert list(one.differences) == list(range(n))
