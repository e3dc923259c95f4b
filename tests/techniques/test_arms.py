"""Arms: what a study file says of them, what they are made of, and what legends tell."""

from __future__ import annotations

from regulab.config import build_study
from regulab.techniques import arms_of, legends
from regulab.techniques.augmentation import Augmentation
from regulab.techniques.dropout import Dropout
from regulab.techniques.early_stopping import EarlyStopping
from regulab.techniques.l1 import L1


def study(**more):
    arms = {"none": {}, "l1": {"l1": 1e-4}, "own": {"dropout": 0.3, "augmentation": {"flip": True}}}
    return build_study({"data": {"name": "digits", "augment": {"rotate": 7}}, "arms": arms, **more})


def test_an_arm_has_the_studys_dropout_and_augmentation_unless_it_has_its_own():
    arms = arms_of(study())
    assert set(arms["none"]) == {Dropout(rate=0.05), Augmentation(rotate=7)}
    assert set(arms["l1"]) == {Dropout(rate=0.05), Augmentation(rotate=7), L1(strength=1e-4)}
    assert set(arms["own"]) == {Dropout(rate=0.3), Augmentation(flip=True)}


def test_the_legend_of_none_says_what_it_still_contains():
    texts = legends(study())
    assert texts["none"] == "none (only dropout 0.05, rotate ±7°)"
    assert texts["l1"] == "l1 (L1 λ=0.0001)"
    assert texts["own"] == "own (dropout 0.3, flip)"
    bare = study(model={"dropout": 0}, data="digits")
    assert legends(bare)["none"] == "none (no regularization)"


def test_early_stopping_on_the_test_split_says_so():
    arms = {"none": {}, "early": {"early_stopping": 3}}
    assert "test split" not in legends(study(arms=arms))["early"]
    assert "selected on the test split" in legends(study(arms=arms, protocol="course"))["early"]


def test_early_stopping_waits_its_patience_and_counts_only_real_improvements():
    def stops(losses, **fields):
        return EarlyStopping.stack([EarlyStopping(**fields)]).stopping[0](losses)

    falling = [1.0, 0.9, 0.8, 0.7]
    assert not stops(falling, patience=1)
    assert not stops([*falling, 0.75], patience=2)
    assert stops([*falling, 0.75, 0.71], patience=2)
    assert not stops([*falling, 0.75, 0.69], patience=2)
    assert stops([1.0, 0.99, 0.98], patience=2, min_delta=0.05)
    assert not stops([1.0, 0.99, 0.94], patience=2, min_delta=0.05), "small steps add up to one that counts"
