"""What a person is told of averaged weights, and of layers that use their weights changed."""

from __future__ import annotations

import pytest

from regulab.training.average_notes import average_notes
from regulab.training.edit_notes import edit_notes
from regulab.training.notes import notes
from tests.training.setups import setup_of, study_of

CONVOLUTIONS = "blocks.0.conv.weight, blocks.1.conv.weight"  # of six


def test_what_an_average_does_to_zeros_is_told():
    arms = {
        "none": {"ema": 0.9},
        "both": {"ema": 0.9, "l1": 1e-3, "group_lasso": 1e-3},
        "at 0": {"swa": 1, "l1": 0},
        "no prox": {"swa": 1, "l1": {"strength": 1, "method": "subgradient"}},
    }
    setup = setup_of(study_of(arms), 24)
    (note,) = average_notes(setup)
    assert note.startswith("l1, group_lasso beside ema: an averaged weight is 0 only where it was 0 in all")
    assert note in notes(setup)


def test_early_stopping_before_the_average_is_told():
    arms = {
        "none": {"early_stopping": 1},
        "late": {"swa": 0.5, "early_stopping": 1},
        "at once": {"ema": 0.9, "early_stopping": 1},
        "to the end": {"swa": 0.5},
    }
    (note,) = average_notes(setup_of(study_of(arms), 24))
    assert note == (
        "“late”: a run whose lowest validation loss lies before epoch 3, in which swa begins, ends with weights that "
        "are no average"
    )


def test_what_standardization_does_to_zeros_and_lengths_is_told():
    arms = {
        "none": {"l1": 1e-3},
        "standardized": {"weight_standardization": "convolutions", "l1": 1e-3},
        "limited": {"weight_standardization": "convolutions", "max_norm": 1},
        "at 0": {"weight_standardization": "convolutions", "l2": 0},
    }
    setup = setup_of(study_of(arms), 24)
    (note,) = edit_notes(setup)
    assert note.startswith("l1, max_norm beside weight_standardization: the length")
    assert note in notes(setup)


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_a_norm_behind_spectral_norm_and_none_behind_standardization_are_told(norm):
    arms = {
        "none": {},
        "divided": {"spectral_norm": 1},
        "standard": {"weight_standardization": "convolutions"},
    }
    found = edit_notes(setup_of(study_of(arms, model={"norm": norm}), 24))
    (note,) = found
    if norm == "none":
        assert note.startswith("weight_standardization: no norm follows, so that outputs are about √fan_in")
    else:
        assert note.startswith("spectral_norm: a norm follows, which undoes the bound")
    assert CONVOLUTIONS in note
    assert "classify" not in note


@pytest.mark.parametrize(
    "arm", [{"spectral_norm": 1}, {"drop_connect": 0.1}, {"weight_standardization": "convolutions"}], ids=list
)
def test_frozen_weights_that_are_used_changed_are_told(arm):
    (name,) = arm
    study = study_of({"none": {}, "some": arm}, model={"freeze": ["blocks.0.*"]})
    found = edit_notes(setup_of(study, 24))
    assert f"{name}: frozen weights, too, are used changed: blocks.0.conv.weight" in found
