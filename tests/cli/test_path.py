"""``regulab path`` on the command line: what it would train, what it prints, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from regulab.cli import app
from regulab.config import load_study

TINY = ("l1-l2", "--technique", "l1", "--strengths", "1e-4,1e-2", "--epochs", "1", "--seeds", "2", "-q")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def invoke(*arguments: str):
    return CliRunner().invoke(app, ["path", *arguments])


def test_it_trains_goes_on_reports_and_answers_in_json():
    """A small one from end to end: records of an ordinary study, a page of its own, made again without training."""
    first = invoke(*TINY)
    assert first.exit_code == 0, first.stderr
    folder = Path("runs/l1-l2-path-l1")
    assert "of 2 strengths validation chooses l1 at strength" in first.stdout.lower()
    assert f"to put it to the test: regulab run {folder}/study.yaml --arms" in first.stdout
    study = load_study(str(folder / "study.yaml"))
    assert list(study.arms) == ["none", "l1 0.0001", "l1 0.01"]
    assert study.resolved is not None
    assert study.resolved["path"]["strengths"] == {"l1 0.0001": 1e-4, "l1 0.01": 1e-2}
    page = (folder / "report.html").read_bytes()
    again = invoke(*TINY, "--json")
    content = json.loads(again.stdout)
    assert [point["strength"] for point in content["points"]] == [1e-4, 1e-2]
    assert len((folder / "history.jsonl").read_text().splitlines()) == 6
    (folder / "report.html").unlink()
    assert CliRunner().invoke(app, ["report", str(folder)]).exit_code == 0
    assert (folder / "report.html").read_bytes() == page


def test_other_strengths_in_the_same_directory_are_refused():
    folder = Path("here")
    assert invoke(*TINY, "--out", str(folder)).exit_code == 0
    other = invoke("l1-l2", "--technique", "l1", "--strengths", "1e-4,1e-3", "--epochs", "1", "--seeds", "2",
                   "--out", str(folder))  # fmt: skip
    assert other.exit_code == 2
    assert "arms" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--technique", "l3"), "unknown technique; got 'l3'"),
        (("--technique", "norm"), "norm has no strength to vary"),
        (("--technique", "l1", "--trials", "1"), "got 1; expected 2 to 200 strengths"),
        (("--technique", "l1", "--strengths", "1e-2..1e-4"), "a range upside down"),
        (("--technique", "dropout", "--strengths", "0.5,2"), "rate: out of range; got 2"),
        (("--technique", "l1", "--arm", "l7"), "unknown arm"),
        ((), "Missing option '--technique'"),
    ],
    ids=["unknown", "no-strength", "one-trial", "upside-down", "out-of-range", "arm", "none"],
)
def test_refused_before_anything_is_written(arguments, said):
    done = invoke(*arguments)
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert not Path("runs").exists()
