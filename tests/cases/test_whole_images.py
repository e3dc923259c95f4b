"""Accuracies are whole images: what is exactly on the margin or tied is so, and p is exact for any number of seeds."""

from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import ceil, lcm

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from regulab.records import SELF_NORMALIZED
from regulab.statistics import compare
from regulab.statistics.equivalence import equivalence_p
from regulab.statistics.paired import paired_verdicts
from regulab.statistics.sequential import tally
from regulab.statistics.sign_flip import one_sided_p, two_sided_p
from regulab.statistics.whole import in_images, with_few_parts
from tests.reporting.factory import make_predictions, make_records

UNUSED = None  # exact tests draw nothing
IMAGES = st.lists(st.integers(-12, 12), min_size=1, max_size=8).map(np.array)
MARGINS = st.fractions(Fraction(1, 20), 9, max_denominator=400)


def study(wrong_by_arm, images, *, margin=0.1, metric="test_accuracy", **more):
    """Records whose runs get so many of the test images wrong: arm -> a count for each seed."""
    seeds = len(wrong_by_arm["none"])
    records = make_records(arms=dict.fromkeys(wrong_by_arm, 0.0), seeds=seeds, epochs=1, images=30)
    rng = np.random.default_rng(1)
    labels = np.arange(images) % 10
    results, predictions = [], {}
    for result in records.results:
        wrong = wrong_by_arm[result.arm][result.seed]
        results.append(replace(result, test_accuracy=float(np.mean(np.arange(images) >= wrong) * 100)))
        predictions[result.arm, result.seed] = make_predictions(labels, wrong, 10, rng)
    records.study["endpoint"].update(margin=margin, metric=metric)
    return replace(records, results=tuple(results), predictions=predictions, **more)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(
    ("images", "margin", "on_the_margin"),
    [(10_000, 0.1, 10), (360, 0.1, 1), (1000, 0.3, 3), (700, 2.0, 14), (3000, 0.7, 21)],
)
def test_a_difference_of_one_margin_in_every_seed_is_not_equivalent(images, margin, on_the_margin, side):
    base = [40 + seed for seed in range(10)]
    arm = [wrong + side * on_the_margin for wrong in base]
    records = study({"none": base, "l1": arm}, images, margin=margin)
    one = compare(records).arms["l1"]
    assert one.equivalence_p_adjusted == 1
    assert one.p == 2 / 1024
    assert one.verdict == ("worse" if side > 0 else "better")
    inside = [wrong + side * (on_the_margin - 1) for wrong in base]
    nearer = compare(study({"none": base, "l1": inside}, images, margin=margin)).arms["l1"]
    assert nearer.equivalence_p_adjusted == 1 / 1024
    assert nearer.verdict == "equivalent"


def test_a_loss_on_its_margin_is_not_equivalent_either():
    records = make_records(arms={"none": 0, "l1": 0}, seeds=9, epochs=1)
    base = [0.3 + 0.1 * seed for seed in range(9)]  # 0.1 + 0.3 is not 0.4 in floating point
    losses = {"none": base, "l1": [value + 0.001 for value in base]}
    assert len({a - b for a, b in zip(losses["l1"], losses["none"], strict=True)}) > 1
    records = replace(
        records, results=tuple(replace(r, test_loss=losses[r.arm][r.seed]) for r in records.results)
    )
    records.study["endpoint"].update(metric="test_loss", margin=0.001)
    one = compare(records).arms["l1"]
    assert (one.equivalence_p_adjusted, one.verdict) == (1, "worse")
    d = np.array(losses["none"]) - np.array(losses["l1"])
    assert paired_verdicts({"l1": d}, 0.001, np.random.default_rng(0)) == {"l1": "worse"}


def brute_force(x: list[Fraction]) -> tuple[float, float]:
    """P(T ≥ Σx) and P(|T| ≥ |Σx|) over all sign vectors, in whole parts of a common unit."""
    common = lcm(*(one.denominator for one in x))
    parts = [int(one * common) for one in x]
    sums = [
        sum(s * k for s, k in zip(signs, parts, strict=True)) for signs in product((1, -1), repeat=len(x))
    ]
    total = sum(parts)
    one_sided = sum(t >= total for t in sums) / len(sums)
    return one_sided, sum(abs(t) >= abs(total) for t in sums) / len(sums)


@settings(max_examples=40, deadline=None)
@given(IMAGES, MARGINS)
def test_whole_numbers_equal_every_sign_vector_listed_in_fractions(d, margin):
    one, two = brute_force([Fraction(int(k)) for k in d])
    assert (one_sided_p(d, UNUSED), two_sided_p(d, UNUSED)) == (one, two)
    low, _ = brute_force([int(k) + margin for k in d])
    high, _ = brute_force([margin - int(k) for k in d])
    assert equivalence_p(d, margin, UNUSED) == max(low, high)


def test_the_same_as_scipys_permutation_test_and_as_real_numbers_listed():
    d = np.array([3, -1, 4, 1, -5, 9, 2, 6, -5, 3, 5, 8])
    for alternative, ours in (("two-sided", two_sided_p), ("greater", one_sided_p)):
        theirs = stats.permutation_test(
            (d.astype(float),),
            np.sum,
            permutation_type="samples",
            alternative=alternative,
            n_resamples=np.inf,
        )
        assert ours(d, UNUSED) == pytest.approx(theirs.pvalue, abs=1e-12)
        assert ours(d, UNUSED) == ours(d / 7, UNUSED)


def test_beyond_sixteen_pairs_every_sign_vector_counts():
    rng = np.random.default_rng(0)
    d = rng.integers(-4, 9, 19)
    sums = np.zeros(1, dtype=int)
    for value in d:
        sums = np.concatenate([sums + value, sums - value])
    assert two_sided_p(d, UNUSED) == np.mean(np.abs(sums) >= abs(d.sum()))
    low = np.zeros(1, dtype=int)
    for value in d + 3:
        low = np.concatenate([low + value, low - value])
    high = np.zeros(1, dtype=int)
    for value in 3 - d:
        high = np.concatenate([high + value, high - value])
    expected = max(np.mean(low >= (d + 3).sum()), np.mean(high >= (3 - d).sum()))
    assert equivalence_p(d, 3, UNUSED) == expected


@pytest.mark.parametrize(("n", "losses"), [(30, 4), (100, 31), (1000, 440), (5000, 2400)])
def test_differences_of_one_image_are_a_binomial_test(n, losses):
    d = np.array([1] * (n - losses) + [-1] * losses)
    assert two_sided_p(d, UNUSED) == pytest.approx(stats.binomtest(losses, n).pvalue, rel=1e-9)
    assert two_sided_p(np.concatenate([7 * d, np.zeros(50, dtype=int)]), UNUSED) == two_sided_p(d, UNUSED)


def test_the_least_p_is_never_zero():
    assert two_sided_p(np.full(300, 5), UNUSED) == 2.0**-299
    assert 0 < two_sided_p(np.full(3000, 5), UNUSED) < 1e-300


def test_forty_seeds_have_one_p_whatever_the_study_is_called():
    rng = np.random.default_rng(3)
    base = rng.integers(60, 90, 40)
    records = study({"none": list(base), "l1": list(base + rng.integers(-6, 9, 40))}, 10_000)
    p = compare(records).arms["l1"].p
    assert (p * 100_000) % 1 != pytest.approx(0, abs=1e-3)  # no share of 100,000 draws
    other = replace(records, study={**records.study, "name": "another"})
    assert compare(other).arms["l1"].p == p
    d = np.array([round(100 * x) for x in compare(records).arms["l1"].differences.values()])
    drawn = two_sided_p(d.astype(float), np.random.default_rng(0))
    assert p == pytest.approx(drawn, abs=0.01)


@settings(max_examples=40)
@given(MARGINS, st.integers(1, 25))
def test_a_margin_in_few_parts_compares_alike(margin, n):
    near = with_few_parts(margin, n)
    assert near.denominator <= n
    assert [ceil(k * near) for k in range(n + 1)] == [ceil(k * margin) for k in range(n + 1)]


@given(st.lists(st.integers(0, 977), min_size=1, max_size=8))
def test_accuracies_are_counted_with_and_without_the_number_of_images(right):
    accuracies = [k / 977 * 100 for k in right]
    counts, unit = in_images(accuracies, 977)
    assert (counts, unit) == (right, Fraction(100, 977))
    found, own = in_images(accuracies, None)
    assert [k * own for k in found] == [k * unit for k in counts]


def test_what_is_no_share_of_images_is_not_counted():
    assert in_images([99.1, np.pi * 10, 98.7], None) is None
    assert in_images([99.1, np.pi * 10, 98.7], 1000) is None
    found, unit = in_images([99.2, 99.25], 1000)  # 992.5 images are none of 1,000
    assert [float(k * unit) for k in found] == [99.2, 99.25]


@pytest.mark.parametrize("margin", [1e300, 1e308, 1e-300, 3.001])
@pytest.mark.parametrize("whole", [True, False])
def test_margins_of_any_size(margin, whole):
    """A huge one is passed by whatever there is, a tiny one by nothing but ties, and no number overflows."""
    d = np.array([3, 1, -2, 0, 3, 1, 2])
    p = equivalence_p(d if whole else d.astype(float), margin, UNUSED)
    if whole or margin > 3:  # real numbers take what lies 1e-300 apart for equal, which is a larger p
        assert p == brute_margin(d, margin)
    assert p == 1 / 2**7 if margin > 3 else p > 0.5
    assert equivalence_p(0 * d if whole else 0.0 * d, margin, UNUSED) == 1 / 2**7


def brute_margin(d, margin):
    exact = Fraction(margin)
    return max(brute_force([side * int(k) + exact for k in d])[0] for side in (1, -1))


def test_a_single_test_image_has_no_noise_to_split_and_no_crash():
    one = compare(study({"none": [0] * 8, "l1": [1, 0] * 4}, 1)).arms
    assert (one["none"].noise, one["l1"].noise) == (None, None)
    assert one["l1"].verdict == "undecided"


def looked_at(d, margin):
    return tally(d, margin, SELF_NORMALIZED)


def test_looks_too_compare_with_the_margin_exactly():
    on, inside = np.full(12, -10), np.full(12, -9)
    assert looked_at(on, Fraction(10)).log_e_equivalent == 0
    assert looked_at(inside, Fraction(10)).log_e_equivalent > np.log(20)
    assert not looked_at(on, Fraction(10)).upwards
    third, nine = looked_at(np.full(12, 3), Fraction(10, 3)), looked_at(inside, Fraction(10))
    assert third.log_e_equivalent == nine.log_e_equivalent


def test_without_predictions_accuracies_are_still_whole():
    records = study({"none": [30] * 10, "l1": [40] * 10}, 10_000)
    assert compare(replace(records, predictions={})).arms["l1"].equivalence_p_adjusted == 1


def test_training_accuracies_are_counted_too():
    records = make_records(arms={"none": 0, "l1": 0}, seeds=24, epochs=1)
    rng = np.random.default_rng(5)
    right = {arm: rng.integers(890, 977, 24) for arm in ("none", "l1")}
    records = replace(
        records,
        results=tuple(
            replace(r, train_accuracy=float(right[r.arm][r.seed]) / 977 * 100) for r in records.results
        ),
    )
    exact = two_sided_p(right["l1"] - right["none"], UNUSED)
    assert compare(records, metric="train_accuracy").arms["l1"].p == exact
