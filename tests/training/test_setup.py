"""A study is set up once: its arms are parsed once, its networks built once, and nothing of it is written."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest
import torch

import regulab.study
from regulab import dry_run, files, models, techniques
from regulab.config import Study
from regulab.data import load
from regulab.models import weights_hash
from regulab.run_directory import places
from regulab.run_directory.writing import RunDirectory
from regulab.training.initial_networks import InitialNetworks
from regulab.training.loop import Job, train_fleet
from regulab.training.machine import process_settings
from regulab.training.notes import notes
from regulab.training.planning import CHECKED_SEEDS, plan_fleets
from regulab.training.setup import set_up
from tests.training.setups import runs_of, setup_of, study_of

ARMS = {"none": {}, "l1": {"l1": 1e-3}, "l2": {"l2": 1e-2}, "l1+l2": {"l1": 1e-3, "l2": 1e-2}}
OWN = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, in_channels, classes):
        super().__init__(nn.Conv2d(in_channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, classes))
"""


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[Any, int]]:
    """How often a network of an architecture and a seed was made."""
    counted, build = Counter[tuple[Any, int]](), models.build

    def counting(model: Any, channels: int, classes: int, streams: Any, *rest: Any) -> Any:
        counted[model, streams.seed] += 1
        return build(model, channels, classes, streams, *rest)

    monkeypatch.setattr(models, "build", counting)
    return counted


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The techniques of arms that were parsed."""
    names: list[str] = []
    parse = techniques.parse

    def counting(name: str, value: Any, where: str) -> Any:
        names.append(where + "." + name)
        return parse(name, value, where)

    monkeypatch.setattr(techniques, "parse", counting)
    monkeypatch.setattr(regulab.study, "write_report", lambda records, directory: None)
    return names


def study(**more: Any) -> Study:
    return study_of(ARMS, seeds=2, train={"epochs": 1}, data={"name": "digits", "train_images": 60}, **more)


def test_a_study_parses_its_arms_once_and_builds_each_network_once(tmp_path, built, parsed):
    """Four arms × two seeds: 30 networks and nine times the arms, before a study was set up once."""
    regulab.study.run(study(), tmp_path / "run", data_root=tmp_path)
    assert parsed == ["arms.l1.l1", "arms.l2.l2", "arms.l1+l2.l1", "arms.l1+l2.l2"]
    # The stack is checked with the weights of three seeds, of which the study has two.
    assert sorted(seed for _, seed in built) == list(range(CHECKED_SEEDS))
    assert set(built.values()) == {1}


@pytest.mark.parametrize("engine", ["fleet", "plain"])
def test_arms_of_two_architectures_build_each_once(tmp_path, built, parsed, engine):
    arms = {**ARMS, "bare": {"norm": "none"}}
    two = study_of(
        arms, seeds=2, train={"epochs": 1, "engine": engine}, data={"name": "digits", "train_images": 60}
    )
    regulab.study.run(two, tmp_path / "run", data_root=tmp_path)
    assert len(parsed) == 5
    assert len(built) == 2 * CHECKED_SEEDS
    assert set(built.values()) == {1}


def test_a_dry_run_too(tmp_path, built, parsed):
    dry_run.plan(study(), data_root=tmp_path)
    assert len(parsed) == 4
    assert set(built.values()) == {1}


def test_a_persons_constructor_is_called_for_every_network_that_is_changed(tmp_path, built, parsed):
    """A copy need not be what the constructor makes, and only by calling it again is it seen to repeat.

    By seed: one that is only read; for the first seed two that the checks compare, one that they train, one that is
    measured, one for the parameters without gradient; one for the check of the stack; one each to train and to test.
    """
    (tmp_path / "nets.py").write_text(OWN)
    regulab.study.run(study(model=f"{tmp_path / 'nets.py'}:Net"), tmp_path / "run", data_root=tmp_path)
    assert {seed: count for (_, seed), count in built.items()} == {0: 9, 1: 4, 2: 1}
    assert len(parsed) == 4


def test_what_is_shared_is_never_changed_by_training():
    setup = setup_of(study_of(ARMS, train={"epochs": 1}), images=40)
    runs = runs_of(setup.study)[:4]
    before = {run.arm: weights_hash(setup.initial(run)) for run in runs}
    for engine, some in (("fleet", runs), ("plain", runs[1:2])):
        (plan,) = plan_fleets(setup, setup.study.seeds[:1])
        job = Job(type(plan)(0, tuple((r.arm, r.seed) for r in some), engine, "", "fp32", 1), setup)
        assert len(list(train_fleet(job))) == 3
    assert {run.arm: weights_hash(setup.initial(run)) for run in runs} == before
    assert len(set(before.values())) == 1, "arms of a seed begin alike"
    assert setup.initial(runs[0]).training, "nor is its mode"


def test_a_network_of_ones_own_is_a_copy_equal_to_what_the_constructor_makes():
    setup = setup_of(study_of(ARMS), images=40)
    run = runs_of(setup.study)[1]
    one, other, made = setup.module(run), setup.module(run), setup.built(run)
    assert weights_hash(one) == weights_hash(other) == weights_hash(made)
    with torch.no_grad():
        next(one.parameters()).add_(1)
    assert weights_hash(other) == weights_hash(setup.module(run)) != weights_hash(one)


def test_networks_that_were_not_asked_for_the_longest_go_first(monkeypatch):
    networks, made = InitialNetworks(), Counter[str]()
    monkeypatch.setattr("regulab.training.initial_networks.MOST_BYTES", 2 * 4 * 100)

    def get(key: str) -> None:
        def make() -> torch.nn.Module:
            made[key] += 1
            return torch.nn.Linear(99, 1)  # 100 numbers of four bytes

        networks.get(key, make)

    for key in "abacab":  # c sends b away, the second b sends c
        get(key)
    assert made == {"a": 1, "b": 2, "c": 1}


def test_set_up_takes_splits_or_their_root(tmp_path):
    one = study()
    splits = load(one.data, one.protocol, tmp_path)
    with process_settings():
        setups = [set_up(one, splits, "cpu"), set_up(one, tmp_path, "cpu")]
    assert setups[0].splits is splits
    assert [len(setup.images) for setup in setups] == [60, 60]
    assert [setup.classes for setup in setups] == [10, 10]
    assert [list(setup.arms) for setup in setups] == [list(ARMS)] * 2


def test_training_touches_no_file(tmp_path, monkeypatch):
    """Events are all that a fleet gives; nothing is read either, by its constructor or later."""
    setup = setup_of(study_of(ARMS, train={"epochs": 2}), images=40)
    (plan,) = plan_fleets(setup, [0])

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError(f"a file is touched: {arguments}")

    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "__init__", refuse)
        for module, name in (
            (places, "read_file"),
            (places, "write_inside"),
            (files, "write_whole"),
            (os, "open"),
        ):
            patch.setattr(module, name, refuse)
        events = list(train_fleet(Job(plan, setup)))
    assert [type(event).__name__ for event in events] == ["Begun", "EpochDone", "EpochDone", "Trained"]
    assert list(tmp_path.iterdir()) == []


def test_arms_that_say_the_same_are_named():
    arms = {"none": {}, "batch": {"norm": "batch"}, "layer": {"norm": "layer"}, "drop": {"dropout": 0.05}}
    more = {"model": {"norm": "batch", "dropout": 0.05}}
    said = "arms “none”, “batch”, “drop” say the same: they train alike, and a verdict between them is of no technique"
    assert said in notes(setup_of(study_of(arms, **more)))
    unpaired = notes(setup_of(study_of(arms, pairing="none", **more)))
    assert not any("say the same" in one for one in unpaired)
    assert not any("say the same" in one for one in notes(setup_of(study_of(ARMS))))
