"""``regulab tune`` and ``regulab run`` of a study with ``tune``, as a person gives them."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from regulab.cli import app
from regulab.config import load_study

STUDY = """\
name: small
train: {epochs: 1, precision: fp32}
seeds: 2
arms: {none: {}, l1: {l1: 1e-4}}
tune: {trials: 2, seeds: 1, ranges: {l1: 1e-6..1e-3}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(STUDY)
    return tmp_path


def given(*arguments):
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def test_it_writes_a_study_that_runs(folder):
    result = given("tune", "small.yaml", "-q")
    assert result.exit_code == 0, result.output
    assert "2 trials an arm, 1 seed each, 3 runs in all; “none”, with nothing to tune" in result.stdout
    assert "→" in result.stdout
    tuned = load_study("small-tuned.yaml")
    assert tuned.tuned is not None
    assert tuned.stream_key == "small"
    assert tuned.arms["l1"]["l1"] == tuned.tuned.arms["l1"].points[tuned.tuned.arms["l1"].chosen]["l1"]
    ran = given("run", "small.yaml", "-q")
    assert ran.exit_code == 0, ran.output
    assert "with one seed a trial nothing tells what the choice adds" in ran.stdout


def test_a_dry_run_tells_the_trials_too(folder):
    result = given("run", "small.yaml", "--dry-run")
    assert "3 runs in 1 fleet, into runs/small-trials" in result.stdout
    assert "4 runs in 1 fleet, into runs/small" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--trials", "1"), "one trial chooses nothing"),
        (("--rule", "worst"), "best"),
        (("--out", "small.yaml"), "would be written over"),
        (("tune.ranges.l1=1e-3..1e-6",), "upside down"),
    ],
    ids=["one trial", "rule", "over the study", "upside down"],
)
def test_what_is_wrong_is_said_in_a_line(folder, arguments, said):
    result = given("tune", "small.yaml", *arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert not (folder / "runs").exists()
