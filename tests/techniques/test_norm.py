"""An arm's own norm: other architectures in one study."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from regulab.cli import app
from regulab.config import NameWithFields, build_study, load_study, parse_yaml
from regulab.errors import UserError
from regulab.run_directory.writing import read_records
from regulab.statistics import compare
from regulab.techniques import arms_of, legends
from regulab.training.setup import Run
from tests.training.setups import setup_of, study_of

ARMS = {"none": {}, "bare": {"norm": "none"}, "after": {"norm": {"kind": "batch", "position": "after"}}}


def test_arms_are_grouped_by_architecture():
    setup = setup_of(study_of({**ARMS, "l2": {"l2": 1e-3}, "same": {"norm": "batch"}}))
    assert setup.architectures == [("none", "l2", "same"), ("bare",), ("after",)]


def test_the_parameters_in_common_start_alike():
    setup = setup_of(study_of(ARMS))
    nets = [dict(net.named_parameters()) for net in map(setup.module, setup.examples(seed=2))]
    assert "classify.weight" in setup.common_parameters
    assert not any(name.endswith((".conv.bias", ".norm.weight")) for name in setup.common_parameters)
    for name in setup.common_parameters:
        assert all(net[name].equal(nets[0][name]) for net in nets)


def test_an_unknown_norm_is_refused():
    with pytest.raises(UserError, match="unknown norm"):
        arms_of(study_of({"none": {}, "odd": {"norm": "banana"}}))


def test_a_study_of_three_architectures(tmp_path):
    content = {"name": "norms", "arms": ARMS, "seeds": 2, "data": {"train_images": 60}}
    content["train"] = {"epochs": 2, "batch_size": 30}
    (tmp_path / "norms.yaml").write_text(build_study(content).to_yaml(), "utf-8")
    directory = tmp_path / "run"
    ended = CliRunner().invoke(app, ["run", str(tmp_path / "norms.yaml"), "--out", str(directory), "-q"])
    assert ended.exit_code == 0, ended.output
    records = read_records(directory)
    assert {(r.arm, r.seed) for r in records.results} == {(arm, seed) for arm in ARMS for seed in (0, 1)}
    fleets: dict[int, set[str]] = {record.fleet: set() for record in records.history}
    for record in records.history:
        fleets[record.fleet].add(record.arm)
    assert sorted(map(sorted, fleets.values())) == [["after"], ["bare"], ["none"]]
    assert compare(records).pairing == {"initial_weights": True, "data_order": True}
    report = (directory / "README.md").read_text("utf-8")
    assert "no norm" in report
    assert "batch norm after ReLU" in report


def test_a_norm_with_fields_is_written_in_one_way_however_it_is_said():
    """In the model, in an arm, by `name` or by `kind`, with a default or without: one architecture, if it is one."""
    arms = {
        "none": {},
        "same": {"norm": {"name": "ghost_batch", "splits": 8}},
        "kind": {"norm": {"kind": "ghost_batch", "splits": 8, "position": "before"}},
        "default": {"norm": "ghost_batch"},
        "four": {"norm": {"name": "ghost_batch", "splits": 4}},
        "batch": {"norm": "batch"},
    }
    setup = setup_of(study_of(arms, model={"norm": {"name": "ghost_batch", "splits": 8}}), 24)
    assert setup.architectures == [("none", "same", "kind"), ("default", "four"), ("batch",)]
    assert setup.module(Run("none", 0, ())).blocks[0].norm.splits == 8
    assert setup.module(Run("four", 0, arms_of(setup.study)["four"])).blocks[0].norm.splits == 4
    assert legends(setup.study)["same"] == "same (ghost batch norm, 8 splits)"


def test_the_resolved_study_says_what_was_said():
    bare = study_of({"none": {}})
    named = study_of({"none": {}}, model={"norm": {"name": "ghost_batch", "splits": 8}})
    assert "norm: batch" in bare.to_yaml()
    assert parse_yaml(named.to_yaml(), "f")["model"]["norm"] == {"name": "ghost_batch", "splits": 8}
    for study in (named, bare):
        again = build_study(parse_yaml(study.to_yaml(), "study.yaml"))
        assert again == study
        assert again.identity() == study.identity()
        assert again.to_yaml() == study.to_yaml()
    assert named.identity() != bare.identity()


@pytest.mark.parametrize(
    ("norm", "words"),
    [
        (
            {"name": "ghost_batch", "split": 8},
            r"model\.norm\.split: unknown key; got 8; .*splits.*did you mean splits",
        ),
        (
            {"name": "ghost_batch", "splits": 0},
            r"model\.norm\.splits: out of range; got 0; expected whole number ≥ 1",
        ),
        (
            {"name": "ghost_batch", "splits": True},
            r"model\.norm\.splits: neither a number nor a name; got True",
        ),
        ({"name": "batch", "splits": 2}, r"model\.norm\.splits: unknown key; got 2; expected batch alone"),
        ({"name": "ghost"}, r"model\.norm: unknown norm; got 'ghost'"),
        ({"splits": 4}, r"model\.norm\.name: missing"),
        (7, r"model\.norm: not a text; got 7"),
        (True, r"model\.norm: neither a number nor a name"),
        ({"name": 7}, r"model\.norm\.name: not a text"),
    ],
    ids=str,
)
def test_a_models_norm_that_is_wrong_is_told_by_its_key(norm, words):
    with pytest.raises(UserError, match=words):
        setup_of(study_of({"none": {}}, model={"norm": norm}), 24).examples()


@pytest.mark.parametrize(
    ("norm", "words"),
    [
        (
            {"name": "ghost_batch", "split": 8},
            r"norm\.split: unknown key; got 8; .*splits.*did you mean splits",
        ),
        ({"name": "ghost_batch", "splits": 2.5}, r"norm\.splits: not a whole number; got 2\.5"),
        ({"name": "ghost_batch", "kind": "batch"}, r"norm\.name: the norm is named twice"),
        ({"kind": "batch", "positon": "after"}, r"norm\.positon: unknown key; .*did you mean position"),
        ({"name": "ghots_batch"}, r"norm\.kind: unknown norm; .*did you mean ghost_batch"),
    ],
    ids=str,
)
def test_an_arms_norm_that_is_wrong_is_told_by_its_key(norm, words):
    with pytest.raises(UserError, match=rf"arms\.odd\.{words}"):
        arms_of(study_of({"none": {}, "odd": {"norm": norm}}))


def test_the_command_line_reaches_its_fields():
    study = load_study(
        "l1-l2",
        "model.norm=ghost_batch",
        "model.norm.splits=2",
        "arms.none.norm.splits=3",
        "arms.none.norm.name=ghost_batch",
    )
    assert study.model.norm == NameWithFields.model_validate({"name": "ghost_batch", "splits": 2})
    assert study.arms["none"] == {"norm": {"name": "ghost_batch", "splits": 3}}
    shown = CliRunner().invoke(app, ["show", "keys", "model.norm"]).stdout
    shown = " ".join(shown.split())  # columns are as wide as the longest key
    assert "model.norm.splits (ghost_batch) whole number ≥ 1, ≤ 10,000; default 4" in shown
