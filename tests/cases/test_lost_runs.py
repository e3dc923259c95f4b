"""What the tests assume is named, seeds that break it are pointed out, and an interval without width is none."""

from dataclasses import replace

import numpy as np
import pytest

from regulab.records import Look
from regulab.statistics import compare
from regulab.statistics.outliers import far_from_the_rest
from tests.cases.test_whole_images import study

BASE = [40, 42, 41, 43, 40, 44, 41, 42, 40, 43]
WOBBLE = [1, -2, 0, 3, -1, 2, 0, -3, 1, 0]


def arm(wrong, images=10_000, **more):
    return compare(study({"none": BASE, "l1": wrong}, images, **more)).arms["l1"]


def test_a_lost_run_is_named_with_median_and_mean():
    wrong = [base + w for base, w in zip(BASE, WOBBLE, strict=True)]
    assert arm(wrong).note is None
    wrong[3] += 120
    one = arm(wrong)
    assert "seed 3 (−1.23) stands far from the others: median +0, mean −0.121" in one.note
    assert "symmetric" in one.note
    assert one.median == pytest.approx(0)
    assert one.difference == pytest.approx(-0.121)
    assert one.differences[3] == pytest.approx(-1.23)
    wrong[6] += 300
    assert "seeds 3 (−1.23), 6 (−3) stand far" in arm(wrong).note


def test_seeds_are_shown_one_by_one_in_the_json():
    content = compare(study({"none": BASE, "l1": [b + 5 for b in BASE]}, 1000)).to_json()
    assert content["arms"]["none"]["differences"] is None
    assert content["arms"]["l1"]["differences"] == {str(seed): pytest.approx(-0.5) for seed in range(10)}
    assert list(content["arms"]["l1"]["differences"]) == [str(seed) for seed in range(10)]


def test_nothing_stands_apart_among_few_or_ordinary_seeds():
    assert far_from_the_rest(np.array([0.0, 0.0, 0.0, 50.0]), 1.0) == []
    assert (
        far_from_the_rest(np.array([0.0, 0.0, 0.0, 0.0, 9.0]), 1.0) == []
    )  # nine images, where all others tie
    assert far_from_the_rest(np.array([0.0, 0.0, 0.0, 0.0, 11.0]), 1.0) == [4]
    assert far_from_the_rest(np.zeros(9), 0.0) == []


@pytest.mark.parametrize(("n", "most"), [(7, 0.02), (10, 0.005), (20, 0.001)])
def test_how_often_ordinary_seeds_are_taken_for_lost_ones(n, most):
    rng = np.random.default_rng(n)
    found = sum(bool(far_from_the_rest(d, 0.0)) for d in rng.normal(size=(3000, n)))
    assert found / 3000 <= most


def test_how_often_a_lost_run_is_seen():
    """One of ten runs loses a point, where seeds spread by a tenth of that or less."""
    rng = np.random.default_rng(1)
    d = 0.05 * rng.normal(size=(500, 10))
    d[:, 4] -= 1
    assert sum(4 in far_from_the_rest(one, 0.01) for one in d) > 475


def test_an_interval_without_width_says_so():
    one = arm([base + 7 for base in BASE])
    assert one.difference_ci95[0] == pytest.approx(one.difference_ci95[1])
    assert (
        one.note
        == "all 10 differences are equal, so the interval has no width: it says nothing of other seeds"
    )
    assert arm([base + 7 + (seed == 2) for seed, base in enumerate(BASE)]).note is None
    assert one.seeds_needed is None


def test_seeds_needed_without_spread_are_the_fewest_that_decide():
    """Equal differences of half a margin: neither rounding nor a division by zero."""
    records = study({"none": BASE[:4], "l1": [b + 5 for b in BASE[:4]], "l2": BASE[:4]}, 10_000)
    assert compare(records).arms["l1"].seeds_needed == 6
    assert compare(records).arms["l1"].spread == pytest.approx(0, abs=1e-12)


def test_a_median_on_the_other_side_of_the_mean_is_said_under_the_sequential_rule():
    wrong = [base - 15 for base in BASE]
    wrong[9] += 400
    records = study({"none": BASE, "l1": wrong}, 10_000)
    looks = tuple(Look(seeds=tuple(range(n)), arms={}) for n in (8, 10))
    one = compare(replace(records, looks=looks)).arms["l1"]
    assert one.verdict == "better"
    assert one.difference < 0 < one.median
    assert "symmetric; their median is +0.15 and their mean −0.25" in one.note
    assert "seed 9 (−3.85) stands far" in one.note
