"""`regulab.run`: studies trained, gone on with and extended from Python."""

from __future__ import annotations

import pytest

import regulab as rl
from tests.api.conftest import ARMS, NOWHERE, SMALL


def same_records(one: rl.Results, two: rl.Results) -> bool:
    return (one.records.results, one.records.history) == (two.records.results, two.records.history)


def test_a_study_is_trained_into_the_folder_of_its_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    results = rl.run(
        "l1-l2", seeds=1, arms={"none": {}}, data_root=NOWHERE, progress=None, train={"epochs": 1}
    )
    assert results.directory.resolve() == (tmp_path / "runs" / "l1-l2").resolve()
    assert (results.arms, results.seeds, results.diverged) == (("none",), (0,), ())
    assert results.records.study["train"]["epochs"] == 1
    assert results.report.is_file()
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""


@pytest.mark.usefixtures("without_report")
def test_what_is_finished_is_not_trained_again_and_more_seeds_extend_it(directory):
    before = rl.load(directory)
    study = rl.Study(**SMALL)
    again = rl.run(study, out=str(directory), data_root=NOWHERE, progress=None)
    assert same_records(before, again)
    more = rl.run(study, seeds=3, out=directory, data_root=NOWHERE, progress=None)
    assert more.seeds == (0, 1, 2)
    kept = [run for run in more.records.results if run.seed < 2]
    assert kept == list(before.records.results)
    assert more.compare().comparison.rule == "sequential", "it was looked at with two seeds"


@pytest.mark.usefixtures("without_report")
def test_fresh_deletes_what_was_there(directory):
    study = rl.load_study(rl.Study(**SMALL), arms={"none": {}}, seeds=1)
    with pytest.raises(rl.UserError, match="another study"):
        rl.run(study, out=directory, data_root=NOWHERE, progress=None)
    results = rl.run(study, out=directory, data_root=NOWHERE, fresh=True, progress=None)
    assert results.arms == ("none",)


def test_home_folders_and_files_that_are_called_like_built_in_studies_are_found(
    tmp_path, monkeypatch, trained
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(trained.parent))
    assert rl.load("~/small").name == "small"
    assert rl.load_study("~/small/study.yaml").name == "small"
    (tmp_path / "l1-l2").write_text("name: mine")
    assert rl.load_study("./l1-l2").name == "mine"
    assert rl.load_study("l1-l2").name == "l1-l2"
    with pytest.raises(rl.UserError, match="out: no home folder"):
        rl.run("l1-l2", out="~nobody-of-this-name/runs", progress=None)


@pytest.mark.usefixtures("without_report")
def test_seeds_are_added_until_every_arm_is_decided(tmp_path):
    arms = {"none": {}, "lost": ARMS["lost"]}
    results = rl.run(
        rl.Study(**{**SMALL, "arms": arms, "train": {"epochs": 1, "precision": "fp32"}}),
        out=tmp_path / "until",
        data_root=NOWHERE,
        until_decided=True,
        max_seeds=8,
        progress=None,
    )
    assert results.verdicts == {"lost": "diverged"}
    assert results.compare().comparison.rule == "sequential"


@pytest.mark.parametrize(
    ("keywords", "parts"),
    [
        ({"devise": "cpu"}, ["no such keyword", "did you mean device?"]),
        ({"epoch": 3}, ["keyword epoch", "did you mean"]),
        ({"out": 5}, ["out: not a path", "got 5"]),
        ({"out": "a\0b"}, ["out: not a path"]),
        ({"data_root": 5}, ["data_root: not a path"]),
        ({"fresh": "no"}, ["fresh: neither true nor false"]),
        ({"until_decided": 1}, ["until_decided: neither true nor false"]),
        ({"max_seeds": 5}, ["max_seeds", "until_decided=True"]),
        ({"max_seeds": 0, "until_decided": True}, ["max_seeds: not a count"]),
        ({"max_seeds": True, "until_decided": True}, ["max_seeds: not a count"]),
        ({"device": 0}, ["device: not a device"]),
        ({"device": "tpu"}, ["not available", "tpu"]),
        ({"progress": True}, ["progress: not a progress"]),
        ({"progress": "loud"}, ["progress: not a progress"]),
        ({"data": "mnist"}, ["missing data file", "no data here"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_wrong_arguments_are_told_before_anything_is_written(keywords, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(rl.UserError) as caught:
        rl.run("l1-l2", **{"data_root": NOWHERE, "progress": None, **keywords})
    assert [part for part in parts if part not in str(caught.value)] == []
    assert list(tmp_path.iterdir()) == []
