import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regulab.errors import UserError
from regulab.records import Look
from regulab.statistics import compare
from regulab.statistics.mcnemar import mcnemar
from tests.reporting.factory import make_records, with_diverged, with_stopped, without

KEYS = {"mean", "ci95", "difference", "difference_ci95", "p", "p_holm", "verdict", "seeds_needed"}


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
    assert one.p == one.p_holm == 2 / 64
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


def test_holm_counts_every_arm_of_the_study():
    records = make_records(seeds=7)
    for arm, shift in (("none", 0.0), ("l1", 1.0), ("l2", 0.0), ("l1+l2", 0.0)):
        wobble = [99 + shift + x for x in (0.1, -0.1, 0.2, -0.2, 0.05, -0.05, 0.0)]
        records = results_with(records, arm, test_accuracy=wobble)
    one = compare(records).arms["l1"]
    assert one.p == 2 / 128
    assert one.p_holm == 3 * one.p
    assert one.verdict == "better"


def test_equal_runs_are_equivalent():
    records = make_records(arms={"none": 0, "l1": 0}, seeds=6)
    for arm in ("none", "l1"):
        records = results_with(records, arm, test_accuracy=[99.0, 99.1, 99.2, 98.9, 99.0, 99.3])
    one = compare(records).arms["l1"]
    assert (one.p, one.verdict, one.equivalence_p_holm) == (1.0, "equivalent", 1 / 64)


@pytest.mark.parametrize(("images", "margin"), [(360, 100 / 360), (1000, 0.1), (10_000, 0.1)])
def test_the_margin_is_never_under_one_test_image(images, margin):
    assert compare(make_records(images=images)).margin == pytest.approx(margin)


def test_too_few_seeds_say_so_instead_of_p():
    one = compare(make_records(seeds=6)).arms["l1"]
    assert (one.p, one.p_holm, one.verdict) == (None, None, "undecided")
    assert "7 seeds are the fewest" in one.note
    assert one.seeds_needed >= 7


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
            assert one.p_holm < 0.05
            assert (one.difference > 0) == (one.verdict == "better")
        if one.verdict == "equivalent":
            assert abs(one.difference) < 0.1
            assert one.equivalence_p_holm < 0.05
        assert (one.seeds_needed is not None) <= (one.verdict == "undecided")


def looked_at(records, *counts):
    looks = tuple(Look(seeds=records.seeds[:n], arms={}) for n in counts)
    return replace(records, looks=looks)


def test_the_json_under_the_sequential_rule():
    records = make_records(arms={"none": 0, "l1": 0}, seeds=9)
    records = results_with(records, "none", test_accuracy=[99.0] * 9)
    records = results_with(records, "l1", test_accuracy=[98.0] * 8 + [99.9])
    content = json.loads(json.dumps(compare(looked_at(records, 7, 8, 9)).to_json(), allow_nan=False))
    assert {key: content[key] for key in ("rule", "e_threshold", "looks")} == {
        "rule": "sequential", "e_threshold": 20, "looks": 3
    }  # fmt: skip
    arm = content["arms"]["l1"]
    nothing = ("p", "p_holm", "equivalence_p_holm", "ci95", "difference_ci95", "seeds_needed", "mcnemar")
    assert [arm[key] for key in nothing] == [None] * 7
    assert (arm["verdict"], arm["looked_at"], arm["pairs"]) == ("worse", 8, 9)
    assert (arm["e"], arm["e_threshold"]) == (pytest.approx(2**8 / 9), 20)
    assert arm["difference"] == pytest.approx((8 * -1 + 0.9) / 9)


def test_looks_alone_decide_not_what_was_trained_since():
    records = make_records(arms={"none": 0, "l1": 5}, seeds=9, base=80)
    arm = compare(looked_at(records, 7)).arms["l1"]
    assert (arm.verdict, arm.looked_at, arm.pairs) == ("undecided", 7, 9)
    assert compare(looked_at(records)).arms["l1"].e == 1
    assert compare(looked_at(records, 8)).arms["l1"].verdict == "better"


def test_looks_with_missing_runs_count_the_pairs_that_are_there():
    records = without(make_records(arms={"none": 0, "l1": 5}, seeds=9, base=80), "l1", 3)
    arm = compare(looked_at(records, 8, 9)).arms["l1"]
    assert (arm.verdict, arm.looked_at) == ("better", 8)


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
