"""A study that was stopped, however and whenever, ends with the bytes of one that never was."""

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import regulab.study
from regulab.config import Study, build_study
from regulab.data import load
from regulab.data.dataset import Images
from regulab.errors import UserError
from regulab.progress import Silent
from regulab.training import planning

EPOCHS = 5
ARMS: dict[str, dict[str, Any]] = {
    "none": {},
    "l1": {"l1": 1e-3},
    "stops": {"l2": 1e-3, "early_stopping": {"patience": 2, "min_delta": 2.0}},  # after three epochs
}
VARIANTS: dict[str, dict[str, Any]] = {
    "final": {},
    "best_val, adam": {"endpoint": {"epoch": "best_val"}, "train.optimizer": {"name": "adam", "lr": 0.01}},
    "a diverging arm": {"arms": {**ARMS, "wild": {"l2": 1e4}}},
    "plain loop": {"train.engine": "plain", "endpoint": {"epoch": "best_val"}},
    "augmented, no momentum": {
        "data.augment": {"rotate": 9},
        "train.optimizer": {"name": "sgd", "momentum": 0},
    },
}


def make_study(**changes: Any) -> Study:
    """Three arms and two seeds of few epochs; changes by dotted key."""
    content: dict[str, Any] = {
        "name": "small",
        "data": {"name": "digits"},
        "train": {"epochs": EPOCHS, "batch_size": 32},
        "seeds": 2,
        "arms": ARMS,
    }
    for key, value in changes.items():
        *path, last = key.split(".")
        place = content
        for part in path:
            place = place[part]
        place[last] = value
    return build_study(content)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few images, a fleet for every seed, and no report."""
    monkeypatch.setattr(regulab.study, "load", load_few)
    monkeypatch.setattr(planning, "PIXELS_PER_STEP", 1)
    monkeypatch.setattr(regulab.study, "write_report", lambda records, directory: None)


def load_few(*arguments: Any) -> Any:
    splits = load(*arguments)
    test = first(splits.open_test(), 50)
    return replace(
        splits,
        train=first(splits.train, 70),
        validation=first(splits.validation, 30),
        open_test=lambda: test,
    )


def first(images: Images, count: int) -> Images:
    return images.take(np.arange(count))


def run(study: Study, directory: Path, **options: Any) -> regulab.study.Outcome:
    return regulab.study.run(study, directory, data_root=directory.parent, **options)


class Interrupt(Silent):
    """Presses Ctrl-C when the ``last``-th epoch has been told."""

    def __init__(self, last: int) -> None:
        self.last, self.told = last, 0

    def epoch(self, records: Any) -> None:
        self.told += 1
        if self.told == self.last:
            raise KeyboardInterrupt


class Crash(BaseException):
    """The end of a process, as far as it can be had without one."""


def crash_at(monkeypatch: pytest.MonkeyPatch, operation: int) -> None:
    """Lets the process end in the ``operation``-th flush to the disk: each write has one before, most one after."""
    done = 0
    flush = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal done
        done += 1
        if done == operation:
            raise Crash
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


def trace(directory: Path) -> dict[str, Any]:
    """Every file of a run directory, without wall-clock times, the commit, and the pages that print times."""
    files = {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }
    content: dict[str, Any] = dict(files)
    content["history.jsonl"] = [
        {**json.loads(line), "seconds": None} for line in files["history.jsonl"].splitlines()
    ]
    content["results.csv"] = [
        {**row, "seconds": None} for row in csv.DictReader(io.StringIO(files["results.csv"].decode()))
    ]
    content["environment.json"] = {**json.loads(files["environment.json"]), "commit": None}
    for page in ("README.md", "report.html"):
        content[page] = page in files
    return content


def same(got: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert sorted(got) == sorted(expected)
    assert [name for name in expected if got[name] != expected[name]] == []


def epochs_once(directory: Path) -> bool:
    lines = (directory / "history.jsonl").read_text().splitlines()
    counted = Counter((r["arm"], r["seed"], r["epoch"]) for r in map(json.loads, lines))
    return max(counted.values()) == 1


def test_the_same_study_twice_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(regulab.study, "load", load_few)
    study = make_study(**VARIANTS["best_val, adam"])

    for name in ("one", "two"):
        run(study, tmp_path / name)

    one, two = trace(tmp_path / "one"), trace(tmp_path / "two")
    same(two, one)
    for name in ("statistics.json", "figures/val_loss.svg", "misclassified/l1.png", "mistakes.npz"):
        assert isinstance(one[name], bytes)
    assert {row["arm"]: row["epochs"] for row in one["results.csv"]}["stops"] == "3"


@pytest.mark.parametrize("variant", VARIANTS)
def test_interrupted_after_any_epoch_it_ends_as_if_it_never_was(variant, tmp_path, small):
    study = make_study(**VARIANTS[variant])
    run(study, tmp_path / "whole")
    whole = trace(tmp_path / "whole")

    stops = 0
    for last in (1, 4, 2, 1, 1):  # epochs until each interruption
        try:
            run(study, tmp_path / "stopped", progress=Interrupt(last))
        except KeyboardInterrupt:
            stops += 1
    outcome = run(study, tmp_path / "stopped")

    assert stops == 5
    assert 0 < outcome.trained < len(study.arms) * 2
    same(trace(tmp_path / "stopped"), whole)
    assert epochs_once(tmp_path / "stopped")


def test_a_diverged_run_is_marked_and_stays_so_when_resumed(tmp_path, small):
    study = make_study(**VARIANTS["a diverging arm"])
    with pytest.raises(KeyboardInterrupt):
        run(study, tmp_path / "runs", progress=Interrupt(3))

    assert run(study, tmp_path / "runs").diverged == [("wild", 0), ("wild", 1)]


OPERATIONS = 82  # flushes of the study below; the test fails where this is no longer so


def flushes(study: Study, directory: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    done = 0
    flush = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal done
        done += 1
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    run(study, directory)
    monkeypatch.setattr(os, "fsync", flush)
    return done
