"""An arm's own norm: other architectures in one study."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from regulab.cli import app
from regulab.config import build_study
from regulab.errors import UserError
from regulab.run_directory.writing import read_records
from regulab.statistics import compare
from regulab.techniques import arms_of
from tests.training.setups import setup_of, study_of

ARMS = {"none": {}, "bare": {"norm": "none"}, "after": {"norm": {"kind": "batch", "position": "after"}}}


def test_arms_are_grouped_by_architecture():
    setup = setup_of(study_of({**ARMS, "l2": {"l2": 1e-3}, "same": {"norm": "batch"}}))
    assert setup.architectures == [("none", "l2", "same"), ("bare",), ("after",)]


def test_the_parameters_in_common_start_alike():
    setup = setup_of(study_of(ARMS))
    nets = [dict(net.named_parameters()) for net in setup.examples(seed=2)]
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
    fleets = {record.fleet: set() for record in records.history}
    for record in records.history:
        fleets[record.fleet].add(record.arm)
    assert sorted(map(sorted, fleets.values())) == [["after"], ["bare"], ["none"]]
    assert compare(records).pairing == {"initial_weights": True, "data_order": True}
    report = (directory / "README.md").read_text("utf-8")
    assert "no norm" in report
    assert "batch norm after ReLU" in report
