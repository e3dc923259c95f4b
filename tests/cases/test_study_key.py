"""The study's key is what every draw is keyed by: its name, unless it is set apart so that a renamed study repeats."""

from __future__ import annotations

import pytest
import torch

from regulab.config import build_study, parse_yaml
from regulab.errors import UserError
from regulab.training.loop import make_trainer
from tests.training.setups import runs_of, setup_of, study_of


def trained(**named: str) -> dict[str, torch.Tensor]:
    study = study_of({"none": {"augmentation": 5}, "l1": {"l1": 1e-3}}, seeds=1, train={"epochs": 1}, **named)
    setup = setup_of(study, images=74)
    trainer = make_trainer("fleet", setup, runs_of(study))
    trainer.train_epoch(1)
    return trainer.weights()


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_renamed_study_with_its_old_key_repeats_to_the_bit():
    old = trained(name="old")
    assert equal(trained(name="new", key="old"), old)
    assert equal(trained(name="old", key="old"), old)
    assert not equal(trained(name="new"), old)
    assert not equal(trained(name="old", key="new"), old)


def test_the_key_is_the_name_unless_it_is_given():
    study = build_study({"name": "a"})
    assert (study.key, study.stream_key) == (None, "a")
    assert build_study({"name": "a", "key": "b"}).stream_key == "b"
    assert "key" not in parse_yaml(study.to_yaml(), "f")


def test_the_key_is_part_of_the_identity_as_it_decides_the_numbers():
    plain = build_study({"name": "a"}).identity()
    assert build_study({"name": "a", "key": "a"}).identity() == plain
    assert build_study({"name": "a", "key": "b"}).identity() != plain


@pytest.mark.parametrize("key", ["", " ", "a\x1fb", "x" * 101, 5, ["a"], "a\u202eb"])
def test_keys_are_readable_texts(key):
    with pytest.raises(UserError, match="key"):
        build_study({"key": key})
