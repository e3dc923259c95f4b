"""The study file: what is accepted, what is refused and how, and that it survives the round trip."""

import math
import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from regulab.config import (
    ASSIGNMENT_ARMS,
    Study,
    build_study,
    builtin_studies,
    load_mapping,
    override,
    parse_yaml,
)
from regulab.errors import UserError

names = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cf", "Zl", "Zp")), min_size=1, max_size=20
).filter(str.strip)
strengths = st.floats(0, 1e6, allow_nan=False)


def read_back(study: Study) -> Study:
    return build_study(parse_yaml(study.to_yaml(), "again"))


def test_the_built_in_study_is_the_assignment():
    study = build_study(*load_mapping("l1-l2"))
    assert study == Study()
    assert list(study.arms) == ["none", "l1", "l2", "l1+l2"]
    assert study.train.epochs == 40
    assert study.seeds == tuple(range(10))
    assert study.data.name == "digits"


@pytest.mark.parametrize("name", builtin_studies())
def test_every_built_in_study_is_valid_and_named_as_its_file(name):
    assert build_study(*load_mapping(name)).name == name


@given(
    name=names,
    arms=st.dictionaries(names, st.dictionaries(names, strengths, max_size=2), min_size=1, max_size=4),
)
def test_a_study_survives_its_own_yaml(name, arms):
    study = Study(name=name, arms=arms, baseline=next(iter(arms)), seeds=(5, 0))
    assert read_back(study) == study
    assert read_back(study).identity() == study.identity()
    assert list(read_back(study).arms) == list(arms)


@pytest.mark.parametrize("name", ["1e-4", "5", "null", "yes", "0x1F", "2024-01-01", "~", "a: b", "#", "- x"])
def test_names_that_look_like_something_else_stay_texts(name):
    study = Study(name=name, arms={"none": {}, name: {"l1": 1e-5}})
    assert read_back(study) == study


def test_identity_ignores_seeds_and_findings_and_nothing_else():
    base = Study()
    assert (
        base.model_copy(update={"seeds": (77,), "resolved": {"class_names": ["a"]}}).identity()
        == base.identity()
    )
    others: list[dict[str, Any]] = [
        {"name": "x"},
        {"data": "mnist"},
        {"protocol": "course"},
        {"model": {"dropout": 0.06}},
        {"train": {"epochs": 41}},
        {"train": {"optimizer": {"lr": 0.02}}},
        {"endpoint": {"margin": 0.2}},
        {"baseline": "l1"},
        {"arms": {**ASSIGNMENT_ARMS, "l1": {"l1": 2e-4}}},
    ]
    identities = {build_study(content).identity() for content in others}
    assert len(identities | {base.identity()}) == len(others) + 1


@pytest.mark.parametrize(
    ("text", "value"), [("5e-4", 5e-4), ("1E3", 1000.0), ("-.5e+2", -50.0), ("1.0e-4", 1e-4)]
)
def test_scientific_notation_is_a_number_without_a_dot_too(text, value):
    found = parse_yaml(f"x: {text}", "f")["x"]
    assert found == value
    assert isinstance(found, float)


@pytest.mark.parametrize("text", ["e5", "1e", "v1e-4", "1e-4x"])
def test_what_only_looks_like_it_stays_a_text(text):
    assert parse_yaml(f"x: {text}", "f")["x"] == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arms:\n  l1: {l1: 1}\n  l1: {l1: 2}\n", "study.yaml, line 3: not valid YAML: 'l1' is given twice"),
        ("a: [1\nb: 2", "study.yaml, line 2: not valid YAML"),
        ("a: !!python/object:os.system {}", "study.yaml, line 1: not valid YAML"),
    ],
)
def test_bad_yaml_names_the_file_and_the_line(text, message):
    with pytest.raises(UserError, match=re.escape(message)):
        parse_yaml(text, "study.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epochs": 5}, "f.yaml: epochs: unknown key; got 5"),
        ({"train": {"epoch": 5}}, "f.yaml: train.epoch: unknown key"),
        ({"train": {"epochs": 0}}, "f.yaml: train.epochs: out of range; got 0; expected whole number ≥ 1"),
        ({"train": {"epochs": "many"}}, "f.yaml: train.epochs: not a whole number; got 'many'"),
        ({"train": {"optimizer": {"name": "shampoo"}}}, "'adam', 'adamw', 'lion', 'muon', 'sgd'"),
        (
            {"train": {"optimizer": {"lr": -1}}},
            "f.yaml: train.optimizer.lr: out of range; got -1; expected number > 0",
        ),
        ({"train": {"optimizer": {"momentum": 0, "nesterov": True}}}, "nesterov needs a momentum above 0"),
        (
            {"model": {"dropout": 1.0}},
            "f.yaml: model.dropout: out of range; got 1.0; expected number ≥ 0, ≤ 0.999",
        ),
        ({"arms": {"none": {}, "l1": {"l1": math.inf}}}, "f.yaml: arms.l1.l1: not a finite number; got inf"),
        (
            {"arms": {"none": {}, "l1": {"l1": {"strength": math.nan}}}},
            "arms.l1.l1.strength: not a finite number",
        ),
        ({"arms": {}}, "at least one arm"),
        ({"arms": {"a": {}}}, "baseline 'none' is not an arm; the arms are a"),
        ({"arms": {"none": 3}}, "f.yaml: arms.none: not a mapping of techniques; got 3"),
        ({"seeds": 0}, "between 1 and 10000 seeds; got 0"),
        ({"seeds": 10**12}, "between 1 and 10000 seeds"),
        ({"seeds": []}, "at least one seed"),
        ({"seeds": [1, 1]}, "f.yaml: seeds: each seed once; got [1, 1]"),
        ({"seeds": [[1]]}, "f.yaml: seeds.0: not a whole number; got [1]"),
        ({"seeds": [-1]}, "f.yaml: seeds.0: out of range; got -1; expected whole number ≥ 0"),
        ({"seeds": True}, "neither a count"),
        ({"seeds": "5"}, "neither a count"),
        ({"protocol": {"kind": "test"}}, "'holdout', 'course' or 'closed'"),
        (
            {"protocol": {"validation": 1.5}},
            "a count of images (1, 2, …) or a fraction between 0 and 1; got 1.5",
        ),
        (
            {"protocol": "course", "endpoint": {"epoch": "best_val"}},
            "would choose the epoch on the test split",
        ),
        ({"endpoint": {"metric": "test_loss"}}, "needs a margin of its own"),
        ({"name": ""}, "f.yaml: name: empty"),
        ({"name": "x" * 101}, "at most 100 characters"),
        ({"a": 1, "b": 2, "c": 3}, "f.yaml: a: unknown key (2 more)"),
    ],
)
def test_refusals_name_the_file_the_key_and_the_rule(content, message):
    with pytest.raises(UserError, match=re.escape(message)):
        build_study(content, "f.yaml")


def test_an_unknown_study_lists_what_there_is():
    with pytest.raises(UserError, match=r"no such study; got 'nope'; expected a YAML file or one of .*l1-l2"):
        load_mapping("nope")


@pytest.mark.parametrize("content", ["[1, 2]", "", "just text"])
def test_a_file_that_holds_no_mapping_is_refused(tmp_path, content):
    path = tmp_path / "study.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=r"study\.yaml: not a study"):
        load_mapping(str(path))


def test_a_study_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot read the study file"):
        load_mapping(str(path))


def test_short_forms_stand_for_their_long_ones():
    short = {
        "data": "mnist",
        "protocol": "course",
        "model": "cnn10k",
        "train": {"optimizer": "adam"},
        "seeds": 3,
    }
    long = {
        "data": {"name": "mnist"},
        "protocol": {"kind": "course"},
        "train": {"optimizer": {"name": "adam", "lr": 1e-3}},
        "seeds": [0, 1, 2],
    }
    assert build_study(short) == build_study(long)
    assert build_study({"arms": {"none": None}}).arms == {"none": {}}


def test_keys_that_a_file_omits_come_from_the_defaults():
    study = build_study({"train": {"optimizer": {"momentum": 0.5}, "schedule": {"final_division": 7}}})
    assert study.train.optimizer.model_dump() == {**Study().train.optimizer.model_dump(), "momentum": 0.5}
    assert study.train.schedule.model_dump() == {**Study().train.schedule.model_dump(), "final_division": 7}


@pytest.mark.parametrize(
    ("assignment", "before", "after"),
    [
        ("train.epochs=5", {}, {"train": {"epochs": 5}}),
        (
            "train.epochs=5",
            {"train": {"epochs": 2, "batch_size": 8}},
            {"train": {"epochs": 5, "batch_size": 8}},
        ),
        (
            "data.augment={rotate: 7}",
            {"data": "mnist"},
            {"data": {"name": "mnist", "augment": {"rotate": 7}}},
        ),
        (
            "protocol.validation=0.1",
            {"protocol": "holdout"},
            {"protocol": {"kind": "holdout", "validation": 0.1}},
        ),
        ("arms={none: {}}", {"arms": {"a": {}, "none": {"l1": 1}}}, {"arms": {"none": {}}}),
        ("arms.l1.l1=5e-4", {"arms": {"l1": {"l1": 1}}}, {"arms": {"l1": {"l1": 5e-4}}}),
        ("arms.new={l2: 1}", {}, {"arms": {**ASSIGNMENT_ARMS, "new": {"l2": 1}}}),
        ("name=a=b", {}, {"name": "a=b"}),
        ("seeds=", {}, {"seeds": None}),
    ],
)
def test_an_override_replaces_what_stood_there(assignment, before, after):
    override(before, assignment)
    assert before == after


def test_an_override_changes_neither_the_defaults_nor_another_study():
    base = {"arms": {"none": {}, "l1": {"l1": 1}}}
    copy = dict(base)
    override(copy, "arms.l1.l1=2")
    override({}, "arms.l1.l1=2")
    assert base == {"arms": {"none": {}, "l1": {"l1": 1}}}
    assert ASSIGNMENT_ARMS["l1"] == {"l1": 1e-4}


@pytest.mark.parametrize("assignment", ["=5", "train.=5", ".epochs=5", "a..b=1"])
def test_an_override_without_a_key_is_refused(assignment):
    with pytest.raises(UserError, match="not an override"):
        override({}, assignment)


def test_an_override_that_is_no_yaml_names_its_key():
    with pytest.raises(UserError, match=r"override arms\.l1"):
        override({}, "arms.l1={l1: [1")


def test_the_yaml_of_a_study_is_plain_yaml_for_other_readers():
    assert yaml.safe_load(Study().to_yaml())["arms"]["l1"] == {"l1": 1e-4}
