"""`regulab.Study` and `regulab.load_study`: checked where they stand, in the words of the study file."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import regulab as rl
from regulab import config
from regulab.api import study as module
from regulab.config import build_study
from regulab.registry import catalogue
from regulab.techniques.technique import Technique


def message(call, *args, **keywords) -> str:
    with pytest.raises(rl.UserError) as caught:
        call(*args, **keywords)
    return str(caught.value)


def test_the_typed_constructor_takes_every_key_of_the_study_file():
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    inits = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    typed = next(init for init in inits if init.args.kwonlyargs)
    assert {one.arg for one in typed.args.kwonlyargs} == config.Study.model_fields.keys() - {
        "resolved",
        "tuned",
    }


def test_a_study_from_keywords_is_the_one_of_the_file():
    content: dict[str, Any] = {
        "name": "mine",
        "data": {"name": "digits", "augment": {"rotate": 7.0}},
        "seeds": 3,
        "train": {"epochs": 5, "optimizer": "adam"},
        "arms": {"none": {}, "l1": {"l1": 1e-4}, "sub": {"l1": {"strength": 1e-4, "method": "subgradient"}}},
    }
    written = rl.Study(
        **{
            **content,
            "seeds": range(np.int64(3)),
            "train": {"epochs": np.int64(5), "optimizer": "adam"},
            "arms": {
                "none": None,
                "l1": rl.L1(strength=1e-4),
                "sub": [rl.L1(strength=1e-4, method="subgradient")],
            },
        }
    )
    assert written.to_yaml() == build_study(content).to_yaml()
    assert written.identity() == build_study(content).identity()
    assert rl.Study() == rl.load_study("l1-l2").model_copy(update={"data": rl.Study().data})


@pytest.mark.parametrize(
    ("key", "keywords"),
    [
        ("epochs", {"train": {"epochs": 0}}),
        ("seeds", {"seeds": 0}),
        ("misspelt", {"trian": {}}),
        ("not-finite", {"arms": {"none": {"l1": float("nan")}}}),
        ("baseline", {"baseline": "non"}),
        ("switch", {"train": {"epochs": True}}),
        ("moot", {"train": {"epochs": 5, "schedule": {"name": "step", "every": 9}}}),
        ("empty", {"data": None}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_told_as_in_a_study_file(key, keywords, tmp_path):
    import yaml

    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(keywords))
    from_file = message(rl.load_study, file)
    place, said = from_file.split(": ", 1)
    assert place.startswith(str(file))
    assert message(rl.Study, **keywords) == said


@pytest.mark.parametrize(
    ("keywords", "parts"),
    [
        (
            {"arms": {"none": {}, "a": {"dropuot": 1}}},
            ["arms.a.dropuot", "unknown technique", "did you mean dropout?"],
        ),
        ({"arms": {"none": {}, "a": {"l1": -1}}}, ["arms.a.l1.strength", "-1", "number ≥ 0"]),
        (
            {"arms": {"none": {}, "a": {"l2": rl.L1(strength=1)}}},
            ["arms.a.l2", "neither a number nor a mapping"],
        ),
        ({"arms": {"none": [rl.L1(strength=1), rl.L1(strength=2)]}}, ["arms.none", "twice"]),
        ({"arms": "l1"}, ["arms", "not a mapping"]),
        ({"data": {"augment": {"turn": 7}}}, ["data.augment.turn", "unknown key"]),
        ({"data": "mnits"}, ["data.name", "unknown dataset", "did you mean mnist?"]),
        ({"model": "cnn10"}, ["model.name", "unknown model", "did you mean cnn10k?"]),
        ({"model": torch.nn.Linear(3, 2)}, ["model", "this is one network", "Linear"]),
        ({"model": {"name": dict}}, ["model", "a class of no networks"]),
        ({"model": [3]}, ["model", "no network", "FILE.py:NAME"]),
        (
            {"data": (np.zeros((2, 8, 8)), [0, 1, 2])},
            ["data, labels", "the number of labels differs", "3 labels"],
        ),
        ({"data": np.zeros((2, 8, 8))}, ["data", "no images and labels", "ndarray", "(x, y)"]),
    ],
    ids=[
        "technique",
        "strength",
        "name",
        "twice",
        "arms",
        "augment",
        "dataset",
        "net",
        "network",
        "inner",
        "list",
        "pair",
        "array",
    ],
)
def test_names_techniques_and_objects_are_refused_at_construction(keywords, parts):
    for call in (rl.Study, lambda **k: rl.load_study("l1-l2", **k)):
        said = message(call, **keywords)
        assert [part for part in parts if part not in said] == []


def test_a_study_that_holds_itself_is_refused():
    arms: dict = {"none": {}}
    arms["more"] = {"l1": arms}
    assert "arms.more" in message(rl.Study, arms=arms)


@pytest.mark.parametrize("name", sorted(catalogue("regulab.techniques", Technique)))
def test_every_technique_refuses_a_wrong_keyword_under_its_own_name(name):
    kind = catalogue("regulab.techniques", Technique)[name]
    right = kind.examples()[0].model_dump(exclude_unset=True)
    assert message(kind, **right, nonsense=1).startswith(f"{kind.__name__}.nonsense: ")


def test_techniques_and_parts_refuse_what_a_file_could_not_hold():
    assert message(rl.L1, strength=-1) == "L1.strength: out of range; got -1; expected number ≥ 0"
    assert message(rl.L1) == "L1.strength: missing; expected number ≥ 0"
    assert "did you mean dropout" in message(config.Model, droput=0.1)


def test_keywords_change_a_study_as_overrides_do(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\ntrain: {epochs: 9, batch_size: 64}\nseeds: 4\n")
    base = rl.load_study(str(file))
    part = rl.load_study(file, train={"epochs": 5})
    dotted = rl.load_study(file, **{"train.epochs": 5})
    assert part == dotted == rl.load_study(base, train={"epochs": 5})
    assert (part.train.epochs, part.train.batch_size, part.seeds) == (5, 64, (0, 1, 2, 3))
    assert list(rl.load_study(file, arms={"none": {}}).arms) == ["none"]
    assert rl.load_study(base, **{"train.optimizer.lr": 0.5}).train.optimizer.lr == 0.5


@pytest.mark.parametrize(
    ("study", "keywords", "parts"),
    [
        ("l1-l3", {}, ["no such study", "did you mean l1-l2?"]),
        (3, {}, ["not a study", "got 3"]),
        (b"l1-l2", {}, ["not a study"]),
        ("", {}, ["not a path"]),
        ("l1-l2", {"epochs": 5}, ["keyword epochs", "did you mean train.epochs?"]),
        ("l1-l2", {"train": {"epochs": 0}}, ["keyword train", "train.epochs", "out of range"]),
        ("l1-l2", {"train": 5}, ["train", "got 5"]),
        ("l1-l2", {"train.": 5}, ["train."]),
        ("l1-l2", {"seed": 3}, ["seeds: [3]"]),
    ],
    ids=["name", "number", "bytes", "empty", "elsewhere", "range", "part", "dot", "cure"],
)
def test_wrong_studies_and_keywords_are_told(study, keywords, parts):
    said = message(rl.load_study, study, **keywords)
    assert [part for part in parts if part not in said] == []


def test_a_file_that_is_no_study_names_its_line(tmp_path):
    file = tmp_path / "notes.yaml"
    file.write_text("- one\n- two\n")
    assert "not a study" in message(rl.load_study, file)
    file.write_text("name: mine\ntrain: {epochs: none}\n")
    assert f"{file}, line 2: train.epochs" in message(rl.load_study, file)
    file.write_text("name: mine\narms:\n  none: {}\n  l1: {l1: -1}\n")
    assert f"{file}, line 4: arms.l1.l1" in message(rl.load_study, file)
