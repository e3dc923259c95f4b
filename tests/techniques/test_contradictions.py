"""Techniques that exclude each other are refused in one arm, with the reason, before anything is loaded."""

import pytest

from regulab.config import Model, Study
from regulab.errors import UserError
from regulab.techniques import arms_of
from regulab.techniques.ema import EMA


def test_what_one_technique_excludes_is_refused(monkeypatch):
    monkeypatch.setattr(EMA, "excludes", {"sam": "an example of this test"})
    study = Study(arms={"none": {}, "both": {"ema": 0.9, "sam": 0.1}, "ema": {"ema": 0.9}})
    with pytest.raises(
        UserError, match="ema and sam contradict each other: an example of this test"
    ) as raised:
        arms_of(study)
    assert raised.value.where == "arms.both"


def test_what_the_study_gives_every_arm_counts_too(monkeypatch):
    monkeypatch.setattr(EMA, "excludes", {"dropout": "an example of this test"})
    with pytest.raises(UserError, match="ema and dropout contradict"):
        arms_of(Study(model=Model(dropout=0.1), arms={"none": {}, "ema": {"ema": 0.9}}))


def test_smoothing_labels_that_play_no_part_is_refused():
    def arms(weight: float, epsilon: float) -> dict:
        learner = {"distillation": {"teacher": "none", "weight": weight}, "label_smoothing": epsilon}
        return {"none": {"label_smoothing": 0.1}, "learner": learner}

    with pytest.raises(UserError, match="has no effect: with distillation weight 1") as raised:
        arms_of(Study(arms=arms(1, 0.1)))
    assert raised.value.where == "arms.learner.label_smoothing"
    assert [*arms_of(Study(arms=arms(0.9, 0.1))), *arms_of(Study(arms=arms(1, 0)))] == ["none", "learner"] * 2
