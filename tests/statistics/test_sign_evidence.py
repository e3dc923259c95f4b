from collections.abc import Callable
from fractions import Fraction
from itertools import product
from math import comb, factorial, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from regulab.records import SIGN
from regulab.statistics import sequential
from regulab.statistics.sequential import deciding_tally, e_threshold, fewest_pairs
from regulab.statistics.sign_evidence import log_e_above, log_e_difference
from regulab.statistics.verdicts import SequentialEvidence, decide_sequentially

ALPHA, MARGIN, MOST = 0.05, 0.1, 40
COUNTS = st.integers(0, 60)
GRID = np.arange(MOST + 1)
LOG_E = log_e_difference(GRID[:, None], GRID)
LOG_E_ABOVE = log_e_above(GRID[:, None], GRID)


def tally(d, margin):
    return sequential.tally(d, margin, SIGN)


def exact_e(w: int, v: int) -> Fraction:
    return Fraction(2 ** (w + v) * factorial(w) * factorial(v), factorial(w + v + 1))


def exact_e_above(w: int, v: int) -> Fraction:
    """2E·P(X ≤ w) with X ~ Binomial(t + 1, ½), which is what I_½ is for whole numbers."""
    t = w + v
    return 2 * exact_e(w, v) * Fraction(sum(comb(t + 1, k) for k in range(w + 1)), 2 ** (t + 1))


def test_by_hand():
    assert np.exp(log_e_difference([0, 1, 2, 8, 4], [0, 0, 0, 0, 4])) == pytest.approx(
        [1, 1, 4 / 3, 256 / 9, 256 / 630]
    )
    assert np.exp(log_e_above([0, 1, 0], [0, 0, 1])) == pytest.approx([1, 3 / 2, 1 / 2])


def test_equals_the_factorials_up_to_forty_pairs():
    for w, v in product(range(MOST + 1), repeat=2):
        assert LOG_E[w, v] == pytest.approx(log(exact_e(w, v)), rel=1e-12, abs=1e-12)
        assert LOG_E_ABOVE[w, v] == pytest.approx(log(exact_e_above(w, v)), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("w", "v"), [(0, 0), (3, 0), (0, 5), (7, 4), (4, 9), (25, 12)])
def test_equals_the_integrals(w, v):
    def ratio(theta: float) -> float:
        return (2 * theta) ** w * (2 * (1 - theta)) ** v

    assert np.exp(log_e_difference(w, v)) == pytest.approx(integrate.quad(ratio, 0, 1)[0])
    assert np.exp(log_e_above(w, v)) == pytest.approx(2 * integrate.quad(ratio, 0.5, 1)[0])


@pytest.mark.parametrize("t", [999, 10_000])
def test_ten_thousand_pairs_neither_overflow_nor_vanish(t):
    assert log_e_difference(t, 0) == pytest.approx(t * log(2) - log(t + 1))
    assert log_e_above(t, 0) == pytest.approx((t + 1) * log(2) - log(t + 1))
    assert log_e_above(0, t) == pytest.approx(-log(t + 1))
    assert np.all(np.diff(log_e_above(np.arange(t + 1), t - np.arange(t + 1))) >= -1e-9)
    assert 1e297 < tally(np.ones(t), 0.5).e < np.inf


@pytest.mark.parametrize("t", [1, 2, 5, 10])
def test_expected_to_be_one_under_the_null_by_listing_every_path(t):
    wins = np.array([sum(path) for path in product((0, 1), repeat=t)])
    assert np.exp(log_e_difference(wins, t - wins)).mean() == pytest.approx(1)
    assert np.exp(log_e_above(wins, t - wins)).mean() == pytest.approx(1)


@given(st.integers(1, 60), st.sampled_from([0.0, 0.1, 0.4, 0.49, 0.5]))
def test_one_sided_is_expected_to_be_at_most_one_inside_its_null(t, q):
    w = np.arange(t + 1)
    assert stats.binom.pmf(w, t, q) @ np.exp(log_e_above(w, t - w)) <= 1 + 1e-9


@given(COUNTS, COUNTS)
def test_a_fair_game_at_every_step(w, v):
    for log_e in (log_e_difference, log_e_above):
        after = np.exp(log_e(w + 1, v) - log_e(w, v)) + np.exp(log_e(w, v + 1) - log_e(w, v))
        assert after / 2 == pytest.approx(1)


@given(COUNTS, COUNTS)
def test_what_the_docstring_says_of_their_shape(w, v):
    assert log_e_difference(w, v) == pytest.approx(log_e_difference(v, w))
    assert log_e_above(w + 1, v) > log_e_above(w, v) > log_e_above(w, v + 1)
    assert log_e_above(w, v) >= -log(w + v + 1) - 1e-9
    if w >= v:
        assert log_e_above(w, v) >= log_e_difference(w, v) - 1e-9
        assert log_e_difference(w + 1, v) >= log_e_difference(w, v) - 1e-9


def test_as_many_wins_as_losses_are_never_evidence():
    assert np.all(np.diag(LOG_E) <= 1e-12)


def test_ties_are_dropped_and_rounding_is_a_tie():
    d = np.array([0.3, 0.0, 0.2, -0.1, 0.0])
    ours = tally(d, None)
    assert (ours.pairs, ours.upwards) == (5, True)
    assert ours.e == pytest.approx(8 * 2 / 24)
    assert ours.log_e_equivalent is ours.e_equivalent is None
    at_the_margin = np.array([99.2]) - np.array([99.3])
    assert at_the_margin[0] != -MARGIN
    assert tally(at_the_margin, MARGIN).e_equivalent == tally(np.empty(0), MARGIN).e_equivalent == 1


def test_equivalence_needs_both_sides():
    inside, above = np.full(12, 0.03), np.full(12, 0.2)
    assert tally(inside, MARGIN).e_equivalent == pytest.approx(float(exact_e_above(12, 0)))
    assert tally(above, MARGIN).e_equivalent == pytest.approx(float(exact_e_above(0, 12)))
    assert tally(-above, MARGIN).e_equivalent == tally(above, MARGIN).e_equivalent


@given(st.lists(st.integers(-30, 30), max_size=30), st.randoms())
def test_only_the_signs_matter_and_not_their_order(points, random):
    d = np.array(points) / 100
    shuffled = list(d)
    random.shuffle(shuffled)
    assert tally(np.array(shuffled), 0.105) == tally(d, 0.105)
    stretched, ours = tally(np.sign(d) * d**2, None), tally(d, None)
    assert stretched == ours
    assert tally(-d, None).log_e == pytest.approx(ours.log_e)


def test_nothing_to_look_at_decides_nothing():
    for d in (np.empty(0), np.zeros(30)):
        assert tally(d, None).e == 1
        assert not tally(d, None).different(1, ALPHA)


def test_the_fewest_pairs_that_can_decide():
    assert [fewest_pairs(m, ALPHA, SIGN, equivalence=False) for m in (1, 2, 3, 6)] == [8, 9, 10, 11]
    assert [fewest_pairs(m, ALPHA, SIGN, equivalence=True) for m in (1, 2, 3, 6)] == [7, 8, 9, 10]
    one, three = tally(np.full(8, 0.01), None), tally(np.full(9, 0.01), None)
    assert one.different(1, ALPHA)
    assert not one.different(2, ALPHA)
    assert not three.different(3, ALPHA)


def test_once_decided_stays_decided():
    d = np.array([0.5] * 8 + [-0.5] * 8)
    looks = [tally(d[:n], MARGIN) for n in (4, 8, 12, 16)]
    assert [look.different(1, ALPHA) for look in looks] == [False, True, False, False]
    assert deciding_tally(looks, 1, ALPHA) is looks[1]
    assert deciding_tally(looks, 3, ALPHA) is looks[-1]


def chance_to_cross(log_e: np.ndarray, threshold: float, q: float = 0.5) -> float:
    """Exact P(E ≥ threshold at any of 40 looks) for wins of chance q: each step thins out who has not crossed."""
    waiting, crossed = np.array([1.0]), 0.0  # by number of wins
    for t in range(1, MOST + 1):
        waiting = np.append(waiting * (1 - q), 0) + np.append(0, waiting * q)
        w = np.arange(t + 1)
        over = log_e[w, t - w] >= log(threshold)
        crossed += waiting[over].sum()
        waiting[over] = 0
    return crossed


@pytest.mark.parametrize("tests", [1, 3])
def test_exact_chance_of_a_false_verdict_under_continuous_peeking(tests):
    threshold = e_threshold(tests, ALPHA)
    assert 0.2 / threshold < chance_to_cross(LOG_E, threshold) <= 1 / threshold
    assert 0.2 / threshold < chance_to_cross(LOG_E_ABOVE, threshold) <= 1 / threshold
    assert chance_to_cross(LOG_E_ABOVE, threshold, q=0.45) < chance_to_cross(LOG_E_ABOVE, threshold)


NULLS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "normal": lambda z: z,
    "skewed": np.expm1,  # log-normal less its median: the mean is 0.65, the median 0
    "heavy": lambda z: z**3,
    "whole images": lambda z: np.round(1.2 * z),  # a third of the pairs are tied
}


def null_differences(name: str, tests: int, repeats: int) -> np.ndarray:
    """Differences ``(repeats, tests, 40)`` of median 0, in units of 0.03 points; arms share their baseline."""
    rng = np.random.default_rng(tests)
    arms, baseline = rng.normal(size=(repeats, tests, MOST)), rng.normal(size=(repeats, 1, MOST))
    return 0.03 * NULLS[name]((arms - baseline) / np.sqrt(2))


def running(x: np.ndarray, table: np.ndarray) -> np.ndarray:
    """ln e after each pair, for x whose last axis is pairs."""
    return table[np.cumsum(x > 1e-9, -1), np.cumsum(x < -1e-9, -1)]


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
    repeats, threshold = 3000, log(e_threshold(tests, ALPHA))
    d = null_differences(null, tests, repeats)
    crossed = (running(d, LOG_E) >= threshold).any(-1)
    false = int(crossed.any(-1).sum())
    assert stats.binom.sf(false - 1, repeats, ALPHA) > 1e-4
    decided = [verdict != "undecided" for verdict in verdicts(d[:10, 0], tests, margin=None)]
    assert decided == list(crossed[:10, 0])


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize("tests", [1, 3])
def test_false_equivalences_and_directions_under_continuous_peeking(null, tests):
    """The median lies on the margin, where every verdict but ``better`` is false."""
    repeats, threshold = 3000, log(e_threshold(tests, ALPHA))
    d = MARGIN + null_differences(null, tests, repeats)
    inside = np.minimum(running(d + MARGIN, LOG_E_ABOVE), running(MARGIN - d, LOG_E_ABOVE)) >= threshold
    below = (running(d, LOG_E) >= threshold) & (np.cumsum(np.sign(d), -1) < 0)
    false = int((inside | below).any((-1, -2)).sum())
    assert false > 0
    assert stats.binom.sf(false - 1, repeats, ALPHA) > 1e-4


def test_without_the_share_for_each_arm_three_arms_are_too_many():
    repeats = 12_000
    d = null_differences("normal", 3, repeats)
    crossed = int((running(d, LOG_E) >= log(1 / ALPHA)).any((-1, -2)).sum())
    assert stats.binom.sf(crossed - 1, repeats, ALPHA) < 1e-4


def test_clear_effects_are_found_in_whatever_direction():
    rng = np.random.default_rng(8)
    d = np.stack([rng.normal(0.4, 0.1, MOST), rng.normal(-0.4, 0.1, MOST), rng.normal(0, 0.03, MOST)])
    assert verdicts(d, 3, MARGIN) == ["better", "worse", "equivalent"]
