import numpy as np
import pytest

from regulab.statistics.power import power, seeds_needed
from regulab.statistics.step_down import adjusted_p


def simulated(n: int, effect: float, tests: int, repeats: int) -> float:
    """Of the only arm of ``tests`` that differs; they share half of their variance, as arms with one baseline do."""
    rng = np.random.default_rng(n)
    own, shared = rng.normal(0, 1, (repeats, tests, n)), rng.normal(0, 1, (repeats, 1, n))
    d = (own + shared) / np.sqrt(2)
    d[:, 0] += effect
    p = [adjusted_p([(arm,) for arm in study], rng, two_sided=True)[0] for study in d]
    return float(np.mean(np.array(p) < 0.05))


@pytest.mark.parametrize(
    ("n", "effect", "tests", "tolerance"),
    [
        pytest.param(6, 1.6, 1, 0.05, id="6-1"),
        pytest.param(7, 1.9, 3, 0.08, id="7-3"),
        pytest.param(9, 1.0, 1, 0.05, id="9-1"),
        *(
            pytest.param(n, effect, tests, 0.09, id=f"{n}-{tests}", marks=pytest.mark.slow)
            for n, effect, tests in (
                (6, 2.5, 3),
                (6, 3, 7),
                (8, 1.5, 3),
                (8, 1.5, 7),
                (10, 1.2, 3),
                (12, 1, 5),
            )
        ),
    ],
)
def test_power_is_that_of_the_deciding_rule(n, effect, tests, tolerance):
    assert power(n, effect, 0.05, tests) == pytest.approx(simulated(n, effect, tests, 800), abs=tolerance)


def test_too_few_seeds_have_no_power():
    assert power(5, 10, 0.05) == power(5, 10, 0.05, tests=7) == 0
    assert power(6, 10, 0.05, tests=7) > 0.9


def test_without_spread_the_floor_is_enough_for_any_number_of_arms():
    assert [seeds_needed(0.0, 0.1, tests=tests) for tests in (1, 3, 40)] == [6, 6, 6]


def test_the_first_number_of_seeds_that_reaches_the_power():
    n = seeds_needed(0.12, 0.1, tests=3)
    assert power(n, 0.1 / 0.12, 0.05, 3) >= 0.8 > power(n - 1, 0.1 / 0.12, 0.05, 3)


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
