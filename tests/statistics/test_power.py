from itertools import product

import numpy as np
import pytest

from regulab.statistics.power import power, seeds_needed


def simulated(n: int, effect: float, alpha: float, repeats: int = 3000) -> float:
    flips = np.array(list(product((1.0, -1.0), repeat=n - 1)))
    flips = np.hstack([np.ones((len(flips), 1)), flips])  # the other half mirrors these sums
    d = np.random.default_rng(n).normal(effect, 1, (repeats, n))
    p = (np.abs(d @ flips.T) >= np.abs(d.sum(1))[:, None] - 1e-9).mean(1)
    return float((p < alpha).mean())


@pytest.mark.parametrize(
    ("n", "effect", "tests", "tolerance"),
    [(6, 1.6, 1, 0.03), (7, 1.9, 3, 0.03), (8, 1.5, 3, 0.08), (9, 1.0, 1, 0.03), (10, 1.2, 3, 0.03)],
)  # fmt: skip
def test_power_is_that_of_the_deciding_rule(n, effect, tests, tolerance):
    assert power(n, effect, 0.05 / tests) == pytest.approx(simulated(n, effect, 0.05 / tests), abs=tolerance)


def test_too_few_seeds_have_no_power():
    assert power(5, 10, 0.05) == 0
    assert power(6, 10, 0.05 / 3) == 0


def test_without_spread_the_floor_is_enough():
    assert seeds_needed(0.0, 0.1, tests=1) == 6
    assert seeds_needed(0.0, 0.1, tests=3) == 7


def test_the_first_number_of_seeds_that_reaches_the_power():
    n = seeds_needed(0.12, 0.1, tests=3)
    assert power(n, 0.1 / 0.12, 0.05 / 3) >= 0.8 > power(n - 1, 0.1 / 0.12, 0.05 / 3)


def test_grows_with_the_square_of_the_spread():
    # (z₀.₉₇₅ + z₀.₈)² = 7.849 seeds for an effect of one standard deviation, in the normal limit
    assert seeds_needed(10.0, 1.0, tests=1) == 785
    assert seeds_needed(20.0, 1.0, tests=1) == 3140


def test_the_two_formulas_meet():
    before, after = seeds_needed(7.95, 1.0, tests=1), seeds_needed(8.0, 1.0, tests=1)
    assert 0 <= after - before <= 8


@pytest.mark.parametrize("tests", [1, 2, 5])
def test_more_arms_need_more_seeds(tests):
    assert seeds_needed(0.2, 0.1, tests=tests) < seeds_needed(0.2, 0.1, tests=tests + 3)
