"""The step-down over shared sign flips: by listing them naively, floors, order, ties, and its size and power."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from regulab.statistics.equivalence import equivalence_p, sides
from regulab.statistics.holm import holm
from regulab.statistics.sign_flip import two_sided_p
from regulab.statistics.step_down import adjusted_p

ALPHA = 0.05


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def differences(d) -> np.ndarray:
    return np.array(adjusted_p([(arm,) for arm in np.asarray(d)], rng(), two_sided=True))


def equivalences(d, margin) -> np.ndarray:
    return np.array(adjusted_p([sides(arm, margin) for arm in np.asarray(d)], rng(), two_sided=False))


def naive(columns, *, two_sided: bool) -> list[float]:
    """By the definition, flip by flip; ``columns[arm][side]`` are whole numbers."""
    n = len(columns[0][0])
    flips = list(product((1, -1), repeat=n))

    def extreme(x, s):  # p and U of a side under flip s, the more extreme the larger
        def total(t):
            found = int(np.dot(t, x))
            return abs(found) if two_sided else found

        reached = sum(total(t) >= total(s) for t in flips)
        length = float(np.sqrt(np.dot(x, x)))
        return (-reached, round(total(s) / length if length else 0.0, 9))

    all_of = [[[extreme(x, s) for s in flips] for x in of_arm] for of_arm in columns]
    seen = [min(side[0] for side in of_arm) for of_arm in all_of]
    order = sorted(range(len(columns)), key=lambda k: seen[k], reverse=True)
    adjusted, running = [0.0] * len(columns), 0.0
    for place, arm in enumerate(order):
        behind = order[place:]
        union = np.mean(
            [any(side[f] >= seen[arm] for j in behind for side in all_of[j]) for f in range(len(flips))]
        )
        summed = sum(max(np.mean([e >= seen[arm] for e in side]) for side in all_of[j]) for j in behind)
        running = max(running, min(1.0, union, summed))
        adjusted[arm] = running
    return adjusted


SMALL = arrays.arrays(np.int64, st.tuples(st.integers(1, 3), st.integers(1, 5)), elements=st.integers(-4, 4))


@settings(max_examples=40, deadline=None)
@given(SMALL)
def test_differences_by_the_definition(d):
    assert differences(d) == pytest.approx(naive([[arm] for arm in d], two_sided=True))


def test_arms_that_tie_are_judged_with_each_other():
    """Of two arms with the very same evidence neither is judged as if it were alone."""
    alike = np.array([[3, 1, 2, -1, 2, 1], [3, 1, 2, -1, 2, 1][::-1]])
    alone = two_sided_p(alike[0], rng())
    first, second = differences(alike)
    assert first == second > alone


@settings(max_examples=40, deadline=None)
@given(SMALL, st.integers(1, 3))
def test_equivalences_by_the_definition(d, margin):
    columns = [
        sides(arm, margin) for arm in d
    ]  # in parts of an image, as a margin beyond all of them plays no part
    assert equivalences(d, margin) == pytest.approx(naive(columns, two_sided=False))


@settings(max_examples=40, deadline=None)
@given(
    arrays.arrays(np.int64, st.tuples(st.integers(1, 6), st.integers(2, 9)), elements=st.integers(-30, 30))
)
def test_never_under_p_and_never_over_holm(d):
    p = [two_sided_p(arm, rng()) for arm in d]
    assert np.all(np.array(p) <= differences(d) + 1e-12)
    assert np.all(differences(d) <= np.array(holm(p)) + 1e-12)
    same = [equivalence_p(arm, 7, rng()) for arm in d]
    assert np.all(np.array(same) <= equivalences(d, 7) + 1e-12)
    assert np.all(equivalences(d, 7) <= np.array(holm(same)) + 1e-12)


@pytest.mark.parametrize("arms", [1, 3, 7, 40])
def test_floors_are_those_of_one_arm(arms):
    six = np.random.default_rng(arms).integers(90, 110, (arms, 6))
    assert set(differences(six)) == {2 / 64}
    assert set(equivalences(six[:, :5] // 100, 100)) == {1 / 32}
    assert differences(six * np.array([[1], *[[-1]] * (arms - 1)])) == pytest.approx(2 / 64)


def test_arms_that_do_nothing_hardly_count_beside_a_clear_one():
    """Each has flips with p = 2/2⁷, at which its sizes are too uneven to look as clear as equal ones do."""
    nothing = [[5, -3, 1, -2, 4, -1, 1], [1, 2, -4, 3, -1, -6, 2], [-9, 4, 2, -1, 3, 1, -2]]
    p = differences([[50, 51, 49, 52, 48, 50, 51], *nothing])
    assert p[0] == 2 / 128
    assert holm([two_sided_p(np.array(one), rng()) for one in ([50] * 7, *nothing)])[0] == 8 / 128


def test_the_unit_and_the_spread_of_an_arm_play_no_part():
    d = np.random.default_rng(3).normal(0.5, 1, (4, 8))
    assert differences(d * np.array([[1], [1000], [1e-6], [3]])) == pytest.approx(differences(d))


def test_ties_zeros_and_equal_differences():
    assert differences(np.zeros((3, 6), int)).tolist() == [1, 1, 1]
    assert differences([[0] * 6, [3] * 6]).tolist() == [1, 2 / 64]
    assert differences([[3] * 6, [3] * 6]).tolist() == [2 / 64, 2 / 64]
    assert equivalences(np.zeros((3, 5), int), 1).tolist() == [1 / 32] * 3
    on_the_margin = equivalences([[10] * 8, [0] * 8], 10)
    assert on_the_margin.tolist() == [1, 1 / 256]
    assert equivalences(np.full((2, 8), 99.2 - 99.3), 0.1).tolist() == [1, 1], "0.1 but for rounding"
    assert adjusted_p([], rng(), two_sided=True) == []


def test_one_pair_and_missing_pairs():
    assert differences([[5], [3]]).tolist() == [1, 1]
    shorter = differences([[50, 51, 52, 50, 49, 50, 51], [40, 0, 41, 42, 40, 0, 41]])
    assert shorter.tolist() == [2 / 128, 2 / 32]


def test_real_numbers_agree_with_whole_ones():
    d = np.random.default_rng(5).integers(-9, 15, (5, 9))
    assert differences(d * 0.1) == pytest.approx(differences(d))
    assert equivalences(d * 0.1, 1.2) == pytest.approx(equivalences(d, 12))


@pytest.mark.parametrize("n", [17, 24])
def test_drawn_flips_agree_with_p_and_repeat(n):
    d = np.random.default_rng(n).integers(-10, 14, (5, n))
    exact = np.array([two_sided_p(arm, rng()) for arm in d])
    found = differences(d)
    assert np.all(found >= exact - 0.004)
    assert np.all(found <= np.array(holm(list(exact))) + 0.01)
    assert found.tolist() == differences(d).tolist()
    assert min(differences(np.abs(d) + 1)) >= 0.999 / 100_000  # what was seen is one of the flips


def test_drawn_flips_agree_with_listed_ones(monkeypatch):
    d = np.random.default_rng(8).integers(-10, 16, (4, 10))
    listed, same = differences(d), equivalences(d, 12)
    monkeypatch.setattr("regulab.statistics.step_down.EXACT_UP_TO", 9)
    assert differences(d) == pytest.approx(listed, abs=0.01)
    assert equivalences(d, 12) == pytest.approx(same, abs=0.01)


def test_drawn_flips_too_keep_their_size(monkeypatch):
    """With flips so few that drawing them matters: what was seen is among them, which makes it exact."""
    monkeypatch.setattr("regulab.statistics.step_down.DRAWS", 199)
    draw, studies = np.random.default_rng(1), 600
    d = draw.normal(size=(studies, 5, 17)) - draw.normal(size=(studies, 1, 17))
    p = [adjusted_p([(arm,) for arm in study], draw, two_sided=True) for study in d]
    count = sum(min(one) < ALPHA for one in p)
    assert stats.binom.sf(count - 1, studies, ALPHA) > 1e-4


# Size and power; ``benchmarks/deciding.py`` does the same with more studies.

Noise = Callable[[np.random.Generator, int, int, int], np.ndarray]


def paired(of_arm, of_baseline) -> Noise:
    return lambda draw, studies, arms, n: (
        of_arm(draw, (studies, arms, n)) - of_baseline(draw, (studies, 1, n))
    )


def normal(draw, size):
    return draw.normal(size=size)


def heavy(draw, size):
    return draw.standard_t(3, size)


def skewed(draw, size):
    return draw.exponential(1, size)


NOISE = {
    "normal": paired(normal, normal),
    "heavy": paired(heavy, heavy),
    "all skewed": paired(skewed, skewed),
}


def false(p: list[np.ndarray], null: slice) -> int:
    return sum(bool((one[null] < ALPHA).any()) for one in p)


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize(("arms", "n", "differ"), [(3, 6, 0), (7, 7, 0), (5, 8, 2)])
def test_false_differences_with_none_some_of_the_arms_different(noise, arms, n, differ):
    """Partial nulls too: the first ``differ`` arms do, by 3 standard deviations."""
    studies = 500
    d = NOISE[noise](np.random.default_rng(arms * n), studies, arms, n)
    d[:, :differ] += 3 * d.std()
    count = false([differences(study) for study in d], slice(differ, None))
    assert stats.binom.sf(count - 1, studies, ALPHA) > 1e-4


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize(("arms", "n", "inside"), [(3, 5, 0), (7, 6, 0), (5, 8, 2)])
def test_false_equivalences_with_none_or_some_of_the_arms_equivalent(noise, arms, n, inside):
    """All other arms lie one margin off, on either side by turns."""
    studies = 500
    d = NOISE[noise](np.random.default_rng(arms * n + 1), studies, arms, n)
    d -= np.median(d) if noise != "all skewed" else 0
    margin = 2 * d.std()
    d[:, inside:] += margin * np.resize([1, -1], arms - inside)[:, None]
    count = false([equivalences(study, margin) for study in d], slice(inside, None))
    assert stats.binom.sf(count - 1, studies, ALPHA) > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("beyond", [0.0, 0.25, 0.5, 1.0])
def test_false_equivalences_are_rarer_beyond_the_margin(beyond):
    """What is not proved of several arms: ``beyond`` is in standard deviations, one arm stays on the margin."""
    studies, arms, n = 4000, 4, 8
    d = NOISE["normal"](np.random.default_rng(4), studies, arms, n)
    margin = 1.2 * d.std()
    d += margin
    d[:, 1:] += beyond * d[:, 1:].std()
    count = false([equivalences(study, margin) for study in d], slice(None))
    assert stats.binom.sf(count - 1, studies, ALPHA) > 1e-3


def test_seven_arms_are_decided_at_seven_seeds():
    """All of an effect of two standard deviations: Holm can decide none, as 7·2/2⁷ is over 5 %."""
    d = 2 * np.sqrt(2) + NOISE["normal"](np.random.default_rng(7), 200, 7, 7)
    found = np.mean([differences(study) < ALPHA for study in d])
    assert found > 0.85
    assert not any(min(holm([two_sided_p(arm, rng()) for arm in study])) < ALPHA for study in d[:20])
