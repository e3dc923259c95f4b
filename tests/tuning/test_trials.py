"""Trials: points that are spread evenly, on draws that the study never has, with a test split that stays closed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from regulab.config import Study
from regulab.data import loading
from regulab.streams import Streams
from regulab.tuning.trials import announced, points, quasi_random, trials_of
from tests.tuning.studies import to_tune


def test_a_power_of_two_has_one_point_in_each_part_of_every_range():
    drawn = quasi_random(16, 5, Streams("study", 0))
    for column in drawn.T:
        assert sorted((column * 16).astype(int)) == list(range(16))


def test_the_key_alone_scrambles():
    assert np.array_equal(quasi_random(8, 2, Streams("a", 0)), quasi_random(8, 2, Streams("a", 0)))
    assert not np.array_equal(quasi_random(8, 2, Streams("a", 0)), quasi_random(8, 2, Streams("b", 0)))
    assert len(quasi_random(5, 2, Streams("a", 0))) == 5


def test_all_arms_try_the_same_rates_and_strengths():
    found = points(to_tune())
    rates = [sorted(point["lr"] for point in of_arm) for of_arm in found.values()]
    assert rates[0] == rates[1] == rates[2]
    assert sorted(point["l1"] for point in found["l1"]) == sorted(point["l1"] for point in found["both"])


def test_an_arm_with_nothing_to_tune_is_tried_once_and_it_is_said():
    study = to_tune({"trials": 4, "ranges": {"l1": "1e-6..1e-3"}, "fixed": ["l2"]})
    assert points(study)["none"] == [{}]
    said = announced(study)
    assert "nothing to tune" in said[1]
    assert "as written: l2" in said[3]


def test_draws_are_none_of_the_studys():
    study = to_tune()
    trials = trials_of(study)
    assert trials.stream_key != study.stream_key
    ours, theirs = (Streams(one.stream_key, 0).generator("order", epoch=1) for one in (study, trials))
    assert not np.array_equal(ours.permutation(100), theirs.permutation(100))


def test_the_trials_never_open_the_test_split(monkeypatch):
    opened, real = [], loading.find_dataset

    def watched(data):
        dataset = real(data)

        def load_watched(root):
            found = dataset.load(root)
            return replace(found, open_test=lambda: opened.append(data) or found.open_test())

        return replace(dataset, load=load_watched)

    monkeypatch.setattr(loading, "find_dataset", watched)
    study = to_tune()
    trials = trials_of(study)
    splits = loading.load(trials.data, trials.protocol, Path("nowhere"))
    assert splits.open_test() is splits.validation
    assert not opened
    loading.load(study.data, study.protocol, Path("nowhere"))
    assert opened  # as `watched` would have noticed


def test_a_study_that_is_not_tuned_is_the_one_that_it_was():
    content = Study().identity_content()
    assert not {"tune", "tuned"} & set(content)
    assert to_tune().identity() != to_tune({"trials": 8}).identity()


@pytest.mark.parametrize("count", [4, 6])
def test_a_budget_that_is_no_power_of_two_is_said(count):
    said = announced(to_tune({"trials": count, "ranges": {"lr": "0.1..1"}}))
    assert any("less evenly" in line for line in said) == (count == 6)
