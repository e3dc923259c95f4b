import json
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regulab.errors import UserError
from regulab.records import SELF_NORMALIZED, SIGN, Look
from regulab.statistics import compare
from regulab.statistics.differences import Pairs
from regulab.statistics.families import Families
from regulab.statistics.mcnemar import mcnemar
from regulab.statistics.self_normalized import log_e_difference
from tests.reporting.factory import make_records, with_diverged, with_stopped, without

KEYS = {
    "mean",
    "ci95",
    "difference",
    "difference_ci95",
    "p",
    "p_holm",
    "p_adjusted",
    "verdict",
    "seeds_needed",
}


def results_with(records, arm, **by_seed):
    """The same study with other values in the arm's rows, seed by seed."""
    column, values = next(iter(by_seed.items()))
    changed = tuple(
        replace(r, **{column: values[r.seed]}) if r.arm == arm else r for r in records.results
    )  # fmt: skip
    return replace(records, results=changed)


def test_the_json_of_the_contract():
    content = json.loads(json.dumps(compare(make_records(seeds=2)).to_json(), allow_nan=False))
    assert {key: content[key] for key in ("metric", "epoch", "baseline", "protocol", "rule")} == {
        "metric": "test_accuracy", "epoch": "final", "baseline": "none", "protocol": "holdout",
        "rule": "fixed",
    }  # fmt: skip
    assert content["seeds"] == [0, 1]
    assert content["pairing"] == {"initial_weights": True, "data_order": True}
    assert list(content["arms"]) == ["none", "l1", "l2", "l1+l2"]
    assert all(set(arm) >= KEYS for arm in content["arms"].values())
    baseline = content["arms"]["none"]
    assert baseline["mean"] is not None
    assert len(baseline["ci95"]) == 2
    assert [baseline[key] for key in ("difference", "p", "verdict", "seeds_needed")] == [None] * 4


def test_numbers_by_hand():
    records = make_records(arms={"none": 0, "l1": 0}, seeds=6)
    records = results_with(records, "none", test_accuracy=[99.0] * 6)
    records = results_with(records, "l1", test_accuracy=[99.2, 99.3, 99.4, 99.2, 99.3, 99.4])
    one = compare(records).arms["l1"]
    assert one.difference == pytest.approx(0.3)
    assert one.difference_ci95 == pytest.approx((0.3 - 0.09387, 0.3 + 0.09387), abs=1e-4)  # 2.5706·0.08944/√6
    assert one.p == one.p_holm == one.p_adjusted == 2 / 64
    assert one.verdict == "better"
    assert one.seeds_needed is None


def test_lower_is_better_for_losses():
    records = make_records(arms={"none": 0, "l1": 0}, seeds=6)
    records = results_with(records, "none", test_loss=[0.05] * 6)
    records = results_with(records, "l1", test_loss=[0.02, 0.03, 0.01, 0.02, 0.03, 0.01])
    records.study["endpoint"].update(metric="test_loss", margin=0.001)
    comparison = compare(records)
    assert comparison.arms["l1"].verdict == "better"
    assert comparison.margin == 0.001  # a loss has no smallest step, so one image does not matter


def test_every_arm_of_the_study_is_one_of_the_family():
    """Holm counts each; in the step-down the arms that do nothing could not have looked as clear as this one."""
    records = make_records(seeds=7)
    for arm, shift in (("none", 0.0), ("l1", 1.0), ("l2", 0.0), ("l1+l2", 0.0)):
        wobble = [99 + shift + x for x in (0.1, -0.1, 0.2, -0.2, 0.05, -0.05, 0.0)]
        records = results_with(records, arm, test_accuracy=wobble)
    one = compare(records).arms["l1"]
    assert one.p == 2 / 128
    assert (one.p_holm, one.p_adjusted) == (3 * one.p, one.p)
    assert one.verdict == "better"


def test_equal_runs_are_equivalent():
    records = make_records(arms={"none": 0, "l1": 0}, seeds=6)
    for arm in ("none", "l1"):
        records = results_with(records, arm, test_accuracy=[99.0, 99.1, 99.2, 98.9, 99.0, 99.3])
    one = compare(records).arms["l1"]
    assert (one.p, one.verdict, one.equivalence_p_adjusted) == (1.0, "equivalent", 1 / 64)


@pytest.mark.parametrize(("images", "margin"), [(360, 100 / 360), (1000, 0.1), (10_000, 0.1)])
def test_the_margin_is_never_under_one_test_image(images, margin):
    assert compare(make_records(images=images)).margin == pytest.approx(margin)


def test_too_few_seeds_say_so_instead_of_p():
    one = compare(make_records(seeds=5)).arms["l1"]
    assert (one.p, one.p_adjusted, one.verdict) == (None, None, "undecided")
    assert "6 seeds are the fewest" in one.note
    assert one.seeds_needed >= 6


def test_one_seed_has_neither_intervals_nor_tests():
    comparison = compare(make_records(seeds=1))
    one = comparison.arms["l1"]
    assert one.difference is not None
    assert (one.ci95, one.difference_ci95, one.p, one.seeds_needed) == (None,) * 4
    assert one.verdict == "undecided"
    assert one.note.startswith("one seed allows no test over seeds; McNemar")
    assert comparison.arms["none"].ci95 is None


def test_a_diverged_run_decides_for_its_arm_alone():
    comparison = compare(with_diverged(make_records(seeds=8), "l1", 3))
    assert comparison.arms["l1"].verdict == "diverged"
    assert comparison.arms["l1"].p is None
    assert comparison.arms["l1"].difference is None
    assert comparison.arms["l1"].n == 7
    assert comparison.arms["l2"].verdict != "diverged"
    assert comparison.arms["l2"].p is not None


def test_a_diverged_baseline_leaves_every_arm_undecided():
    comparison = compare(with_diverged(make_records(seeds=8), "none", 3))
    assert {one.verdict for arm, one in comparison.arms.items() if arm != "none"} == {"undecided"}
    assert all("baseline" in one.note for arm, one in comparison.arms.items() if arm != "none")


def test_arms_are_paired_on_the_seeds_that_both_have():
    full = make_records(seeds=9)
    partial = without(without(full, "l1", 2), "none", 5)
    one = compare(partial).arms["l1"]
    values = {(r.arm, r.seed): r.test_accuracy for r in full.results}
    kept = [seed for seed in range(9) if seed not in (2, 5)]
    assert one.pairs == 7
    assert one.n == 8
    assert one.difference == pytest.approx(np.mean([values["l1", s] - values["none", s] for s in kept]))


def test_an_arm_without_runs_is_undecided():
    records = make_records(arms={"none": 0, "l1": 0}, seeds=1)
    one = compare(without(records, "l1", 0)).arms["l1"]
    assert (one.mean, one.difference, one.verdict) == (None, None, "undecided")
    assert one.note == "no finished run"


def test_another_baseline_turns_the_sign():
    records = make_records(seeds=7)
    forth, back = compare(records), compare(records, baseline="l1")
    assert back.arms["none"].difference == pytest.approx(-forth.arms["l1"].difference)
    assert back.arms["l1"].difference is None


def test_another_metric_has_no_margin():
    comparison = compare(make_records(seeds=7), metric="zero_fraction")
    assert comparison.margin is None
    assert "no margin" in comparison.note
    l1 = comparison.arms["l1"]
    assert (l1.equivalence_p_holm, l1.seeds_needed, l1.verdict) == (None, None, None)
    assert l1.p == 2 / 128
    assert "no better direction" in l1.note


@pytest.mark.parametrize(("given_", "named"), [({"baseline": "l3"}, "l3"), ({"metric": "f1"}, "f1")])
def test_what_does_not_exist_is_refused(given_, named):
    with pytest.raises(UserError, match=f"got '{named}'.*expected one of"):
        compare(make_records(seeds=1), **given_)


def test_different_initial_weights_are_noticed():
    records = results_with(make_records(seeds=2), "l1", initial_weights_hash=["weights-0", "other"])
    assert compare(records).pairing == {"initial_weights": False, "data_order": True}


def test_a_run_that_stopped_early_is_not_held_against_the_order():
    records = with_stopped(make_records(seeds=2), "l1", 0, 5)
    records = results_with(records, "l1", data_order_hash=["order of 5 epochs", "order-1"])
    assert compare(records).pairing == {"initial_weights": True, "data_order": True}


def test_a_single_arm_verifies_nothing():
    assert compare(make_records(arms={"none": 0})).pairing == {"initial_weights": False, "data_order": False}


def test_above_sixteen_seeds_the_same_records_give_the_same_p():
    records = make_records(arms={"none": 0, "l1": 0.02}, seeds=20, images=10_000)
    assert compare(records) == compare(records)
    assert 0 < compare(records).arms["l1"].p < 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9), st.floats(-0.5, 0.5))
def test_a_verdict_never_contradicts_its_numbers(rng, seeds, effect):
    for one in compare(
        make_records(arms={"none": 0, "l1": effect}, seeds=seeds, epochs=1, rng=rng)
    ).arms.values():
        if one.verdict in ("better", "worse"):
            assert one.p_adjusted < 0.05
            assert (one.difference > 0) == (one.verdict == "better")
        if one.verdict == "equivalent":
            assert abs(one.difference) < 0.1
            assert one.equivalence_p_adjusted < 0.05
        assert (one.seeds_needed is not None) <= (one.verdict == "undecided")


def looked_at(records, *counts, kind=SELF_NORMALIZED):
    looks = tuple(Look(seeds=records.seeds[:n], arms={}, e_value=kind) for n in counts)
    return replace(records, looks=looks)


def test_the_json_under_the_sequential_rule():
    records = make_records(arms={"none": 0, "l1": 0}, seeds=9)
    records = results_with(records, "none", test_accuracy=[99.0] * 9)
    records = results_with(records, "l1", test_accuracy=[98.0] * 6 + [99.9] * 3)
    content = json.loads(json.dumps(compare(looked_at(records, 5, 6, 9)).to_json(), allow_nan=False))
    assert {key: content[key] for key in ("rule", "e_value", "e_threshold", "looks")} == {
        "rule": "sequential", "e_value": "self-normalized", "e_threshold": 20, "looks": 3
    }  # fmt: skip
    arm = content["arms"]["l1"]
    nothing = (
        "p",
        "p_holm",
        "p_adjusted",
        "equivalence_p_adjusted",
        "ci95",
        "difference_ci95",
        "seeds_needed",
        "mcnemar",
    )
    assert [arm[key] for key in nothing] == [None] * 8
    assert (arm["verdict"], arm["looked_at"], arm["pairs"]) == ("worse", 6, 9)
    sure = np.tanh([0.35, 0.7, 1.4, 2.8, 5.6, 11.2])
    assert (arm["e"], arm["e_threshold"]) == (
        pytest.approx(((1 + sure) ** 6 + (1 - sure) ** 6).mean() / 2),
        20,
    )
    assert arm["difference"] == pytest.approx((6 * -1 + 3 * 0.9) / 9)


def test_looks_alone_decide_not_what_was_trained_since():
    records = make_records(arms={"none": 0, "l1": 5}, seeds=9, base=80)
    arm = compare(looked_at(records, 5)).arms["l1"]
    assert (arm.verdict, arm.looked_at, arm.pairs) == ("undecided", 5, 9)
    assert compare(looked_at(records)).arms["l1"].e == 1
    assert compare(looked_at(records, 6)).arms["l1"].verdict == "better"


def test_a_study_that_was_begun_with_sign_e_values_keeps_them():
    records = make_records(arms={"none": 0, "l1": 5}, seeds=9, base=80)
    for kind in (SIGN, None):  # None: from before the kind was recorded
        seven, eight = (compare(looked_at(records, 6, n, kind=kind)) for n in (7, 8))
        assert (seven.e_value, seven.arms["l1"].verdict) == ("sign", "undecided")
        assert eight.arms["l1"].verdict == "better"
        assert eight.arms["l1"].e == pytest.approx(2**8 / 9)
    assert compare(looked_at(records, 6, 7)).arms["l1"].verdict == "better"


def test_looks_of_two_kinds_are_refused():
    records = make_records(arms={"none": 0, "l1": 5}, seeds=9)
    looks = tuple(
        Look(seeds=records.seeds[:n], arms={}, e_value=kind) for n, kind in ((7, None), (8, SELF_NORMALIZED))
    )
    with pytest.raises(
        UserError, match=r"1\.e_value: looks by two kinds of e-values; got 'self-normalized'; expected sign"
    ):
        compare(replace(records, looks=looks))


def test_bets_follow_the_order_in_which_seeds_came():
    """The second look lists the seeds of the first in another order, which was fixed by then."""
    records = make_records(arms={"none": 0, "l1": 0.3}, seeds=9)
    looks = [
        Look(seeds=order, arms={}, e_value=SELF_NORMALIZED)
        for order in ((4, 2, 0, 1, 3), (0, 1, 2, 3, 4, 8, 5))
    ]
    then = compare(replace(records, looks=tuple(looks))).arms["l1"]
    d = [then.differences[seed] for seed in (4, 2, 0, 1, 3, 8, 5)]
    assert then.e == pytest.approx(np.exp(log_e_difference(np.array(d))))


def test_median_and_mean_that_disagree_are_both_said():
    records = make_records(arms={"none": 0, "l1": 0}, seeds=9)
    records = results_with(records, "none", test_accuracy=[90.0] * 9)
    records = results_with(records, "l1", test_accuracy=[90.5] * 8 + [80.0])
    one = compare(looked_at(records, 8, 9)).arms["l1"]
    assert one.verdict == "better"
    assert "their median is +0.5 and their mean −0.6667, so they are not" in one.note
    records = results_with(records, "l1", test_accuracy=[90.0] * 8 + [80.0])
    one = compare(looked_at(records, 8, 9)).arms["l1"]
    assert one.verdict == "equivalent"
    assert "their median is +0 and their mean −1.111" in one.note


def test_what_holm_said_when_it_was_read_is_not_forgotten():
    """Seven arms at seven seeds, of which Holm decided none: what is found now is said to be found now."""
    arms = {"none": 0, **{f"arm {i}": 0 for i in range(7)}}
    records = make_records(arms=arms, seeds=7)
    records = results_with(records, "none", test_accuracy=[90.0, 90.1, 90.2, 90.0, 90.1, 90.2, 90.1])
    for i in range(7):
        records = results_with(records, f"arm {i}", test_accuracy=[91.0, 91.3, 91.1, 91.2, 91.2, 91.0, 91.1])
    said = {arm: {"verdict": "undecided", "p_holm": None} for arm in arms if arm != "none"}
    read = replace(records, looks=(Look(seeds=records.seeds, arms=said, rule="fixed"),))
    now = compare(read)
    assert {one.verdict for arm, one in now.arms.items() if arm != "none"} == {"better"}
    assert now.arms["arm 0"].p_adjusted == 2 / 128
    assert now.arms["arm 0"].p_holm == 7 * 2 / 128
    assert "when this was first read, Holm's correction said: “arm 0” undecided, " in now.note
    assert compare(records).note is None or "Holm" not in compare(records).note
    more = make_records(arms=arms, seeds=8)
    extended = replace(more, results=tuple(one for one in more.results), looks=read.looks)
    assert set(compare(extended).first_look.verdicts.values()) == {"undecided"}


def test_arms_that_lost_seeds_are_judged_by_those_they_have():
    """Flips are of all seeds; an arm's own p is that of its own pairs, and five pairs can show no difference."""
    records = make_records(arms={"none": 0, "l1": 5, "l2": 5}, seeds=7, base=80)
    study = {**records.study, "seeds": [0, 1, 2, 3, 4, 5, 6]}
    results = tuple(r for r in records.results if (r.arm, r.seed) not in {("l2", 5)})
    waiting = compare(replace(records, study=study, results=results))
    assert waiting.arms["l2"].p_adjusted is None  # a run is missing: not judged
    d = [
        np.array([50, 51, 52, 49, 50, 51, 50]),
        np.array([50, 51, 52, 49, 50, 0, 50]),
        np.array([5, 0, 0, 4, 5, 6, 4]),
    ]
    there = [{seed: int(count) for seed, count in enumerate(one) if count} for one in d]
    pairs = [Pairs({seed: float(k) for seed, k in one.items()}, one, Fraction(1)) for one in there]
    family = Families(pairs, np.random.default_rng(0))
    assert family.differences([2 / 128, 2 / 64, None]) == [2 / 128, 2 / 64, None]


@pytest.mark.parametrize(("arms", "seeds"), [(40, 12), (7, 17)])
def test_many_arms_take_no_longer_than_a_moment(arms, seeds):
    records = make_records(
        arms={"none": 0, **{f"a{i}": 0.01 * i for i in range(arms)}}, seeds=seeds, epochs=1
    )
    start = time.process_time()
    found = compare(records)
    assert time.process_time() - start < 4
    for one in found.arms.values():
        if one.p is not None:
            assert one.p <= one.p_adjusted <= one.p_holm + 0.002 * (seeds > 16)
            assert one.equivalence_p_adjusted <= one.equivalence_p_holm + 0.002 * (seeds > 16)


def test_looks_with_missing_runs_count_the_pairs_that_are_there():
    records = without(make_records(arms={"none": 0, "l1": 5}, seeds=9, base=80), "l1", 3)
    arm = compare(looked_at(records, 6, 7)).arms["l1"]
    assert (arm.verdict, arm.looked_at) == ("better", 6)


def test_one_seed_gives_mcnemar_with_its_limits():
    records = make_records(arms={"none": 0, "l1": 0}, seeds=1, base=95)
    arm = compare(records).arms["l1"]
    right = [
        records.predictions[name, 0].labels == records.predictions[name, 0].predicted
        for name in ("l1", "none")
    ]
    assert arm.mcnemar == mcnemar(*right)
    assert arm.verdict == "undecided"
    assert f"{arm.mcnemar.only_arm_right} test images only arm “l1” gets right" in arm.note
    assert "not of their arms" in arm.note
    assert arm.to_json()["mcnemar"] == vars(arm.mcnemar)
    assert compare(make_records(seeds=2)).arms["l1"].mcnemar is None
    assert compare(records, metric="weight_norm_l1").arms["l1"].mcnemar is None


def test_what_pairing_brought_and_what_the_test_set_adds():
    comparison = compare(make_records(seeds=8))
    arm, baseline = comparison.arms["l1"], comparison.arms["none"]
    assert arm.gain.pairs == 8
    assert arm.gain.paired_variance == pytest.approx(arm.spread**2)
    assert arm.gain.correlation > 0.5  # the seeds of the factory have luck in common
    assert baseline.gain is None
    assert baseline.noise.run_to_run == pytest.approx(
        1000 / 999 * (baseline.noise.observed - baseline.noise.test_set)
    )
    assert compare(make_records(seeds=1)).arms["l1"].noise is None


@pytest.mark.parametrize(
    ("digests", "verified"), [(("a", "b", "c"), True), (("a", "x", "c"), False), (("a",), True)]
)
def test_orders_compare_over_the_epochs_that_both_trained(digests, verified):
    records = make_records(arms={"none": 0, "l1": 0}, seeds=1)
    records = results_with(records, "l1", data_order_hash=["of fewer epochs"])
    orders = {("none", 0): ("a", "b", "c", "d"), ("l1", 0): digests}
    assert compare(replace(records, orders=orders)).pairing["data_order"] is verified


def test_all_pairs_tied_under_either_rule():
    records = make_records(arms={"none": 0, "l1": 0}, seeds=8)
    for arm in ("none", "l1"):
        records = results_with(records, arm, test_accuracy=[99.0] * 8)
    for one in (records, looked_at(records, 8)):
        assert compare(one).arms["l1"].verdict == "equivalent"
