"""From a study and a technique to the study of a path: strengths, names, companions, and what is refused."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from regulab.config import Study, load_study
from regulab.errors import UserError
from regulab.path_study import path_study
from regulab.techniques import TECHNIQUES, arms_of, parse
from regulab.techniques.search_range import SearchRange

STUDY = load_study("l1-l2")


def strengths(technique: str, text: str | None = None, trials: int | None = None) -> list[float]:
    return list(path_study(STUDY, technique, text, trials)[1].strengths.values())


def test_strengths_lie_by_equal_ratios_and_include_both_ends():
    found = strengths("l1", "1e-6..1e-2", 5)
    assert found == [1e-6, 1e-5, 1e-4, 1e-3, 1e-2]
    nine = strengths("l1")
    assert (nine[0], nine[-1], len(nine)) == (3e-6, 1e-2, 9)
    ratios = [b / a for a, b in itertools.pairwise(nine)]
    assert max(ratios) / min(ratios) < 1.01  # three digits are kept of each


def test_a_range_from_zero_is_linear():
    study, path = path_study(STUDY, "l1", "0..0.8", 5)
    assert list(path.strengths.values()) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert path.spread == "linear"
    assert list(study.arms)[:2] == ["none", "l1 0"]


def test_a_list_is_taken_as_it_is_weakest_first():
    study, path = path_study(STUDY, "l1", "1e-4,0,1e-5")
    assert path.strengths == {"l1 0": 0, "l1 1e-05": 1e-5, "l1 0.0001": 1e-4}
    assert study.arms["l1 0.0001"] == {"l1": 1e-4}


def test_where_less_is_stronger_the_largest_comes_first():
    assert strengths("max_norm", "1..4", 3) == [4, 2, 1]


def test_shares_close_to_one_lie_by_equal_ratios_of_the_rest():
    assert strengths("ema", "0.9..0.999", 3) == [0.9, 0.99, 0.999]


def test_whole_parameters_are_whole():
    study, path = path_study(STUDY, "early_stopping", "2..10", 3)
    assert list(path.strengths.values()) == [10, 6, 2]
    assert study.arms["early_stopping 6"] == {"early_stopping": 6}


def test_every_arm_has_what_the_baseline_has():
    study = Study(baseline="base", arms={"base": {"l2": 1e-3}, "other": {}})
    made, _ = path_study(study, "dropout", "0.1..0.3", 3)
    assert made.arms == {
        "base": {"l2": 1e-3},
        "dropout 0.1": {"l2": 1e-3, "dropout": 0.1},
        "dropout 0.173": {"l2": 1e-3, "dropout": 0.173},
        "dropout 0.3": {"l2": 1e-3, "dropout": 0.3},
    }
    assert made.name == "l1-l2-path-dropout"


def test_the_draws_of_a_path_are_its_own_even_where_the_study_has_a_key():
    made, _ = path_study(Study(key="drawn"), "l1", "1e-4,1e-3")
    assert made.stream_key == "l1-l2-path-l1"


def test_other_parameters_come_from_the_arm_that_has_the_technique_alone():
    arms: dict[str, dict[str, Any]] = {
        "none": {},
        "both": {"l1": {"strength": 1, "include": "all"}, "l2": 1},
        "l1": {"l1": {"strength": 2, "method": "subgradient"}},
    }
    made, _ = path_study(Study(arms=arms), "l1", "1e-4,1e-3")
    assert made.arms["l1 0.0001"] == {"l1": {"method": "subgradient", "strength": 1e-4}}
    inside, _ = path_study(Study(arms=arms), "l1", "1e-4,1e-3", arm="both")
    assert inside.arms["l1 0.0001"] == {"l2": 1, "l1": {"include": "all", "strength": 1e-4}}
    assert inside.arms["none"] == {}


def test_a_factorial_becomes_a_plain_study():
    study = load_study("bn-gbn")
    made, _ = path_study(study, "l1", "1e-4,1e-3")
    assert made.factors is None
    assert list(made.arms) == [study.baseline, "l1 0.0001", "l1 0.001"]
    assert made.arms["l1 0.001"] == {**study.arms[study.baseline], "l1": 1e-3}


@pytest.mark.parametrize(
    ("technique", "text", "trials", "said"),
    [
        ("l1", "1e-2..1e-6", None, "upside down.*expected 1e-6..1e-2"),
        ("l1", "1e-3..1e-3", None, "a range of one value"),
        ("l1", "1e-3", None, "one strength is no path"),
        ("l1", "1e-3,", None, "one strength is no path"),
        ("l1", "1e-3,0.001", None, "twice; got '0.001'"),
        ("l1", "1e-3,1.0000001e-3", None, "one name; got 'l1 0.001'"),
        ("l1", "some..more", None, "not a strength; got 'some'"),
        ("l1", "..1e-3", None, "a strength is missing"),
        ("l1", "1e-3,nan", None, "not a strength; got 'nan'"),
        ("l1", "-1..1", None, "a strength below 0"),
        ("l1", "-1,1", None, "strength: out of range; got -1"),
        ("l1", "1..1.001", 9, "9 strengths in this range are 2 after rounding"),
        ("l1", None, 1, "got 1; expected 2 to 200 strengths; regulab run trains one"),
        ("l1", None, 0, "got 0"),
        ("l1", None, 201, "got 201"),
        ("l1", "1,2,3", 2, "3 strengths and --trials 2"),
        ("dropout", "0.5..1.5", 3, "rate: out of range"),
        ("early_stopping", "1..4", 9, "9 strengths in this range are 4 after rounding; .*--trials 4 at most"),
        ("norm", None, None, "no strength to vary: its kind says something else"),
        ("l3", None, None, "unknown technique"),
    ],
)  # fmt: skip
def test_refused(technique, text, trials, said):
    with pytest.raises(UserError, match=said):
        path_study(STUDY, technique, text, trials)


def test_arms_that_cannot_be_varied_are_refused():
    with pytest.raises(UserError, match="unknown arm; got 'l3'"):
        path_study(STUDY, "l1", arm="l3")
    with pytest.raises(UserError, match="the arm has no l1 to vary; got 'l2'"):
        path_study(STUDY, "l1", arm="l2")
    clash = Study(baseline="l1 0.1", arms={"l1 0.1": {}})
    with pytest.raises(UserError, match="called as the baseline is"):
        path_study(clash, "l1", "0.1,0.2")


RANGED = [name for name, kind in TECHNIQUES.items() if kind.search is not None]


@pytest.mark.parametrize("technique", RANGED)
def test_every_technique_with_a_range_has_nine_strengths_in_it(technique):
    """Each is a value of the technique, and their order is from weak to strong."""
    kind = TECHNIQUES[technique]
    found = strengths(technique)
    assert len(found) == len(set(found)) == 9
    assert isinstance(kind.search, SearchRange)
    assert found == sorted(found, reverse=kind.search.stronger == "lower")
    for value in found:
        made = parse(technique, int(value) if kind.search.whole else value, "")
        assert math.isclose(getattr(made, kind.scalar), value)
    assert (
        len(
            arms_of(
                path_study(
                    STUDY.model_copy(update={"train": STUDY.train.model_copy(update={"epochs": 40})}),
                    technique,
                )[0]
            )
        )
        == 10
    )


def test_what_has_no_range_says_what_it_is():
    assert [n for n in TECHNIQUES if n not in RANGED] == [
        "distillation",
        "learning_rate",
        "norm",
        "swa",
        "weight_standardization",
    ]
