"""Ranges: what they become, and what is refused."""

from __future__ import annotations

import pytest

from regulab.config.tuning import Range
from regulab.errors import UserError
from regulab.tuning.space import dimensions
from regulab.tuning.trials import points, trials_of
from tests.tuning.studies import ARMS, RANGES, to_tune


def only(arm: str, tune: dict, **arms):
    study = to_tune({"trials": 8, **tune}, arms={"none": {}, **arms} if arms else ARMS)
    return {one.key: one for one in dimensions(study)[arm]}


def test_each_arm_has_what_it_has():
    found = dimensions(to_tune())
    assert {arm: [one.key for one in own] for arm, own in found.items()} == {
        "none": ["lr"],
        "l1": ["lr", "l1"],
        "both": ["lr", "l1", "l2"],
    }


def test_strengths_spread_by_ratios_and_bounded_shares_by_differences():
    found = only("a", {"ranges": {"dropout": "0..0.5", "l1": "1e-6..1e-2"}}, a={"dropout": 0.1, "l1": 1e-4})
    assert found["l1"].value(0.5) == pytest.approx(1e-4)
    assert found["l1"].value(0.25) == pytest.approx(1e-5)
    assert found["dropout"].value(0.5) == 0.25


def test_whole_numbers_stay_whole_and_reach_both_ends():
    found = only("a", {"ranges": {"cutout": "4..7"}}, a={"cutout": 4})["cutout"]
    assert [found.value(u) for u in (0, 0.24, 0.26, 0.6, 0.99)] == [4, 4, 5, 6, 7]


def test_averages_spread_by_their_complement():
    found = only("a", {}, a={"ema": 0.9})["ema"]
    assert found.value(0.0) == 0.5
    assert found.value(0.5) == pytest.approx(1 - (0.5 * 0.001) ** 0.5, abs=1e-5)


def test_lists_are_chosen_from():
    found = only("a", {"ranges": {"l1.method": ["prox", "subgradient"]}, "fixed": ["l1"]}, a={"l1": 1e-3})
    (method,) = found.values()
    assert [method.value(u) for u in (0.1, 0.7)] == ["prox", "subgradient"]
    assert method.put({"l1": 1e-3}, "subgradient") == {"l1": {"strength": 1e-3, "method": "subgradient"}}


def test_a_fields_others_stay_as_written():
    study = to_tune()
    l2 = next(one for one in dimensions(study)["both"] if one.key == "l2")
    assert l2.put(study.arms["both"], 0.5)["l2"] == {"strength": 0.5, "include": "all"}


def test_usual_ranges_where_none_is_given_and_what_is_fixed_stays():
    found = only("l1", {})
    assert found["l1"].ends == (3e-6, 1e-2)
    assert list(only("both", {"fixed": ["l2"]})) == ["l1"]


def test_a_base_is_given_to_every_arm_and_an_arm_may_have_its_own():
    tune = {
        "trials": 8,
        "ranges": RANGES,
        "base": {"weight_decay": "1e-5..1e-2"},
        "arms": {"l1": {"l1": "1e-5..1e-4"}},
    }
    study = to_tune(tune)
    found = dimensions(study)
    assert [one.key for one in found["none"]] == ["lr", "weight_decay"]
    assert next(one for one in found["l1"] if one.key == "l1").ends == (1e-5, 1e-4)
    assert all("weight_decay" in techniques for techniques in trials_of(study).arms.values())


def test_strength_is_ordered_by_the_strong_end():
    study = to_tune({"trials": 8, "ranges": {"max_norm": "0.5..4"}}, arms={"none": {}, "m": {"max_norm": 2}})
    limits = [point["max_norm"] for point in points(study)["m"]]
    assert limits == sorted(limits, reverse=True)  # a smaller limit is a stronger one


WRONG = {
    "one trial": ({"trials": 1}, "one trial chooses nothing"),
    "upside down": ({"ranges": {"l1": "1e-3..1e-6"}}, "upside down"),
    "one value": ({"ranges": {"l1": "1e-3..1e-3"}}, "from a value to itself"),
    "no range": ({"ranges": {"l1": 0.1}}, "no range"),
    "half a range": ({"ranges": {"l1": {"low": 0.1}}}, "one end"),
    "fewer trials than parameters": ({"trials": 2, "ranges": RANGES}, "fewer trials than parameters"),
    "a technique that no arm has": ({"ranges": {"dropout": "0.1..0.5"}}, "no arm has"),
    "a technique that this arm lacks": ({"arms": {"none": {"l1": "1e-5..1e-3"}}}, "arm none does not have"),
    "no such arm": ({"arms": {"l3": {"l1": "1e-5..1e-3"}}}, "no such arm"),
    "no such field": ({"ranges": {"l1.stength": "1e-5..1e-3"}}, "no such field"),
    "a log from 0": ({"ranges": {"l1": "0..1e-3"}}, "no logarithm"),
    "what the technique refuses": ({"ranges": {"l1": {"low": -1, "high": 1, "scale": "linear"}}}, "l1"),
    "an unknown base": ({"base": {"nothing": "0..1"}}, "unknown technique"),
    "a rate as base": ({"base": {"lr": "0.1..1"}}, "every arm has a learning rate"),
    "a field twice": (
        {"ranges": {"l1": "1e-5..1e-3", "l1.strength": "1e-5..1e-3"}},
        "two ranges of one field",
    ),
    "listed seeds": ({"seeds": [0, 1]}, "a list of seeds"),
    "an error of one seed": ({"rule": "one_standard_error", "seeds": 1}, "one standard error needs a spread"),
    "not a thing to tune": ({"fixed": ["l1", "l2"]}, "nothing to tune"),
    "an unknown rule": ({"rule": "worst"}, "'best' or 'one_standard_error'"),
}


@pytest.mark.parametrize(("tune", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refused_before_anything_trains(tune, said):
    with pytest.raises(UserError, match=said):
        trials_of(to_tune({"trials": 4, **tune}))


def test_the_test_split_chooses_nothing():
    with pytest.raises(UserError, match="choose on the test split"):
        to_tune(protocol="course")


def test_students_are_not_tuned():
    arms = {"none": {}, "taught": {"distillation": "none", "l1": 1e-4}}
    with pytest.raises(UserError, match="its teacher is tuned at the same time"):
        trials_of(to_tune({"trials": 4}, arms=arms))


def test_ranges_read_what_people_write():
    assert Range.model_validate("1e-6 .. 1e-3") == Range(low=1e-6, high=1e-3)
    assert Range.model_validate([1, 2]).values == (1, 2)
