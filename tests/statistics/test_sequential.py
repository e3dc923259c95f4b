"""Self-normalized e-values: bets that are fair under symmetry, and what they decide under continuous peeking."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import product
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from regulab.records import SELF_NORMALIZED, SIGN
from regulab.statistics import sequential
from regulab.statistics.self_normalized import (
    BETS,
    log_e_above,
    log_e_at_most,
    log_e_difference,
    log_e_paths,
)
from regulab.statistics.sequential import deciding_tally, e_threshold, fewest_pairs
from regulab.statistics.sign_evidence import log_e_difference as log_e_of_signs
from regulab.statistics.verdicts import SequentialEvidence, decide_sequentially

ALPHA, MARGIN, MOST = 0.05, 0.1, 40
VALUES = arrays.arrays(np.float64, st.integers(1, 8), elements=st.floats(-100, 100, width=32))


def tally(d, margin):
    return sequential.tally(d, margin, SELF_NORMALIZED)


def by_hand(x) -> float:
    """E⁺ as the docstring has it."""
    found = []
    for bet in BETS:
        product_, squares = 1.0, 0.0
        for t, one in enumerate(x, 1):
            squares += one**2
            product_ *= 1 + np.tanh(bet * one / np.sqrt(squares / t)) if squares else 1.0
        found.append(product_)
    return float(np.mean(found))


@given(VALUES)
def test_by_the_definition(x):
    x = np.where(np.abs(x) < 1e-3, 0.0, x)
    assert np.exp(log_e_above(x)) == pytest.approx(by_hand(x), rel=1e-9)
    assert np.exp(log_e_difference(x)) == pytest.approx((by_hand(x) + by_hand(-x)) / 2, rel=1e-9)
    assert [log_e_above(x[: t + 1]) for t in range(len(x))] == pytest.approx(log_e_paths(x).tolist())


@pytest.mark.parametrize(
    "sizes", [(1, 1, 1, 1), (1, 5, 0, 2, 9), (9, 1, 0.1, 3, 3, 7), (0, 0, 4), (1, 10, 100, 1000)], ids=str
)
def test_expected_to_be_one_under_symmetry_by_listing_every_sign(sizes):
    """Whatever the sizes, and after every pair: given the past and |x|, the next factor has the mean 1."""
    paths = np.exp(log_e_paths(np.array(list(product((1, -1), repeat=len(sizes)))) * np.array(sizes, float)))
    assert paths.mean(0) == pytest.approx(np.ones(len(sizes)))
    e = [
        np.exp(log_e_difference(np.array(s) * np.array(sizes, float)))
        for s in product((1, -1), repeat=len(sizes))
    ]
    assert np.mean(e) == pytest.approx(1)


@settings(deadline=None)
@given(VALUES, st.floats(0, 50))
def test_what_lies_lower_can_only_give_less_for_the_next_pair(past, down):
    """So a one-sided null, symmetric less something, is a supermartingale."""
    here = log_e_paths(np.append(past, [3.0]))[-1]
    assert log_e_paths(np.append(past, [3.0 - down]))[-1] <= here + 1e-9


@given(VALUES, st.floats(1e-3, 1e3))
def test_units_play_no_part_and_sides_mirror(d, factor):
    assert tally(d * factor, None).log_e == pytest.approx(tally(d, None).log_e, abs=1e-6)
    assert tally(-d, None).log_e == pytest.approx(tally(d, None).log_e)


def test_nothing_to_look_at_decides_nothing():
    for d in (np.empty(0), np.zeros(30)):
        assert tally(d, None).e == 1
        assert not tally(d, None).different(1, ALPHA)
    assert tally(np.empty(0), 0.1).e_equivalent == 1


def test_the_fewest_pairs_that_can_decide():
    kinds = (SELF_NORMALIZED, SIGN)
    differences = [[fewest_pairs(m, ALPHA, kind, equivalence=False) for m in (1, 2, 3, 7)] for kind in kinds]
    equivalences = [[fewest_pairs(m, ALPHA, kind, equivalence=True) for m in (1, 2, 3, 7)] for kind in kinds]
    assert differences == [[6, 7, 8, 9], [8, 9, 10, 11]]
    assert equivalences == [[5, 6, 7, 8], [7, 8, 9, 10]]


@pytest.mark.parametrize("tests", [1, 3, 7])
def test_fewer_pairs_cannot_decide_and_so_many_can(tests):
    bar = log(e_threshold(tests, ALPHA))
    for two_sided, found in ((True, log_e_difference), (False, log_e_above)):
        n = fewest_pairs(tests, ALPHA, SELF_NORMALIZED, equivalence=not two_sided)
        steep, even = np.power(10.0, np.arange(n, dtype=np.float64)), np.ones(n)
        assert found(steep) == pytest.approx(log_e_at_most(n, two_sided=two_sided), rel=0.01)
        assert found(steep) >= bar
        assert found(even) >= bar
        assert log_e_at_most(n - 1, two_sided=two_sided) < bar


def test_whole_images_are_compared_with_the_margin_exactly():
    on = sequential.tally(np.full(12, 10), Fraction(10), SELF_NORMALIZED)
    assert on.e_equivalent == 1  # margin − d is 0 in every pair
    assert tally(np.full(12, 99.3 - 99.2), 0.1).e_equivalent == 1
    assert tally(np.full(12, 9), Fraction(10)).e_equivalent > 1000


def test_a_difference_counts_only_if_it_does_not_lie_beyond_the_other_margin():
    found = tally(np.full(8, 0.3), 0.1)
    assert found.different(1, ALPHA)
    doubted = sequential.Tally(pairs=8, upwards=True, log_e=9.0, log_e_equivalent=-9.0, not_beyond=0.0)
    assert not doubted.different(1, ALPHA)


@pytest.mark.parametrize("n", [999, 10_000])
def test_ten_thousand_pairs_neither_overflow_nor_vanish(n):
    assert 1e297 < tally(np.ones(n), 0.5).e < np.inf
    assert np.isfinite(tally(np.resize([1e-200, -1e200], n), 0.5).log_e)
    assert 0 <= np.exp(log_e_above(-np.ones(n))) < 1


def test_once_decided_stays_decided():
    d = np.array([0.5] * 8 + [-0.5] * 8)
    looks = [tally(d[:n], MARGIN) for n in (4, 8, 12, 16)]
    assert [look.different(1, ALPHA) for look in looks] == [False, True, False, False]
    assert deciding_tally(looks, 1, ALPHA) is looks[1]
    assert deciding_tally(looks[:1] + looks[3:], 1, ALPHA) is looks[3]


NULLS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "normal": lambda z: z,
    "heavy": lambda z: z**3,
    "whole images": lambda z: np.round(1.2 * z),  # a third of the pairs are tied
    "ever wider": lambda z: z * 1.2 ** np.arange(z.shape[-1]),
}


def null_differences(name: str, tests: int, repeats: int) -> np.ndarray:
    """Differences ``(repeats, tests, 40)`` symmetric about 0, in units of 0.03 points; arms share their baseline."""
    rng = np.random.default_rng(tests)
    arms, baseline = rng.normal(size=(repeats, tests, MOST)), rng.normal(size=(repeats, 1, MOST))
    return 0.03 * NULLS[name]((arms - baseline) / np.sqrt(2))


def both_sides(d: np.ndarray) -> np.ndarray:
    return np.logaddexp(log_e_paths(d), log_e_paths(-d)) - log(2)


def verdicts(d: np.ndarray, tests: int, margin: float | None) -> list[str | None]:
    """Of each row of differences, looking after every single seed."""
    return [
        decide_sequentially(
            SequentialEvidence(
                arm_diverged=False,
                baseline_diverged=False,
                direction=1,
                looks=[tally(arm[:n], margin) for n in range(1, MOST + 1)],
                tests=tests,
            )
        )
        for arm in d
    ]


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize("tests", [1, 3])
def test_false_differences_under_continuous_peeking(null, tests):
    repeats, threshold = 1000, log(e_threshold(tests, ALPHA))
    d = null_differences(null, tests, repeats)
    crossed = (both_sides(d) >= threshold).any(-1)
    false = int(crossed.any(-1).sum())
    assert stats.binom.sf(false - 1, repeats, ALPHA) > 1e-4
    decided = [verdict != "undecided" for verdict in verdicts(d[:6, 0], tests, margin=None)]
    assert decided == list(crossed[:6, 0])


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize("tests", [1, 3])
def test_false_equivalences_and_directions_under_continuous_peeking(null, tests):
    """The centre lies on the margin, where every verdict but ``better`` is false."""
    repeats, threshold = 1000, log(e_threshold(tests, ALPHA))
    d = MARGIN + null_differences(null, tests, repeats)
    inside = np.minimum(log_e_paths(d + MARGIN), log_e_paths(MARGIN - d)) >= threshold
    below = (both_sides(d) >= threshold) & (log_e_paths(-d) > log_e_paths(d))
    false = int((inside | below).any((-1, -2)).sum())
    assert false > 0
    assert stats.binom.sf(false - 1, repeats, ALPHA) > 1e-4


def test_without_the_share_for_each_arm_three_arms_are_too_many():
    repeats = 4000
    d = null_differences("normal", 3, repeats)
    crossed = int((both_sides(d) >= log(1 / ALPHA)).any((-1, -2)).sum())
    assert stats.binom.sf(crossed - 1, repeats, ALPHA) < 1e-4


def first(reached: np.ndarray) -> np.ndarray:
    """The pair at which it was reached, else one more than there are."""
    return np.where(reached.any(-1), reached.argmax(-1) + 1, reached.shape[-1] + 1)


@pytest.mark.parametrize("tests", [1, 3, 7])
@pytest.mark.parametrize("effect", [1.0, 1.5, 3.0])
def test_at_least_fifteen_percent_fewer_seeds_than_by_signs(tests, effect):
    """To a difference, for normal differences of this mean in standard deviations, at the same threshold."""
    d = np.random.default_rng(5).normal(effect, 1, (1500, 80))
    bar = log(e_threshold(tests, ALPHA))
    signs = first(log_e_of_signs(np.cumsum(d > 0, -1), np.cumsum(d < 0, -1)) >= bar).mean()
    assert first(both_sides(d) >= bar).mean() <= 0.85 * signs


def test_clear_effects_are_found_in_whatever_direction():
    rng = np.random.default_rng(8)
    d = np.stack([rng.normal(0.4, 0.1, MOST), rng.normal(-0.4, 0.1, MOST), rng.normal(0, 0.03, MOST)])
    assert verdicts(d, 3, MARGIN) == ["better", "worse", "equivalent"]
