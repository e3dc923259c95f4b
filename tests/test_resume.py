"""A study that was stopped, however and whenever, ends with the bytes of one that never was."""

import csv
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import regulab.study
from regulab.config import Study, build_study
from regulab.data import load
from regulab.data.dataset import Images
from regulab.data.sealing import sealed
from regulab.errors import UserError
from regulab.progress import Beginning, Outcome, Silent
from regulab.run_directory.writing import RunDirectory
from regulab.training import planning, setup

EPOCHS = 4
ARMS: dict[str, dict[str, Any]] = {
    "none": {},
    "l1": {"l1": 1e-3},
    "stops": {"l2": 1e-3, "early_stopping": {"patience": 2, "min_delta": 2.0}},  # after three epochs
}
VARIANTS: dict[str, dict[str, Any]] = {
    "final": {},
    "best_val, adam": {"endpoint": {"epoch": "best_val"}, "train.optimizer": {"name": "adam", "lr": 0.01}},
    "a diverging arm": {"arms": {**ARMS, "wild": {"l2": 1e4}}},
    "rates of their own": {
        "train.optimizer": {"name": "sgd", "lr": 0.2},
        "train.schedule": {"name": "reduce_on_plateau", "patience": 1, "factor": 0.5},
        "arms": {**ARMS, "strong": {"l1": 0.05, "dropout": 0.6}},
    },
    "learning from others": {
        "arms": {
            "again": {"distillation": {"teacher": "taught", "weight": 0.4}},
            "none": {},
            "taught": {"distillation": "stops"},
            "stops": ARMS["stops"],
            "wild": {"l2": 1e4},
            "lost": {"distillation": "wild"},
        }
    },
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
    monkeypatch.setattr(setup, "load", load_few)
    monkeypatch.setattr(planning, "PIXELS_PER_STEP", 1)
    monkeypatch.setattr(regulab.study, "write_report", lambda records, directory: None)


def load_few(*arguments: Any) -> Any:
    splits = load(*arguments)
    test = first(splits.open_test(), 50)
    few = replace(
        splits,
        train=first(splits.train, 70),
        validation=first(splits.validation, 30),
        open_test=lambda: test,
    )
    return sealed(few)


def first(images: Images, count: int) -> Images:
    return images.take(np.arange(count))


def run(study: Study, directory: Path, **options: Any) -> Outcome:
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


class Disk:
    """Counts flushes to the disk, and crashes in the ``last``-th.

    A file is flushed before it is put in its place and its folder after that, the history after an append.
    """

    def __init__(self, last: int = 0) -> None:
        self.last, self.flushes, self._flush = last, 0, os.fsync

    def fsync(self, descriptor: int) -> None:
        self.flushes += 1
        if self.flushes == self.last:
            raise Crash
        self._flush(descriptor)


def trace(directory: Path) -> dict[str, Any]:
    """Every file of a run directory, without wall-clock times, the commit, and the pages that print times."""
    files = {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }
    content: dict[str, Any] = dict(files)
    content["history.jsonl"] = [
        {**json.loads(line), "seconds": None} for line in files["history.jsonl"].splitlines()
    ]
    rows = csv.DictReader(io.StringIO(files["results.csv"].decode()))
    content["results.csv"] = [{**row, "seconds": None} for row in rows]
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
    monkeypatch.setattr(setup, "load", load_few)
    study = make_study(**VARIANTS["best_val, adam"])

    for name in ("one", "two"):
        run(study, tmp_path / name)

    one, two = trace(tmp_path / "one"), trace(tmp_path / "two")
    same(two, one)
    for name in (
        "statistics.json",
        "figures/val_loss.svg",
        "misclassified/l1.png",
        "mistakes.npz",
        "weights.json",
    ):
        assert isinstance(one[name], bytes)
    assert {row["arm"]: row["epochs"] for row in one["results.csv"]}["stops"] == "3"


@pytest.mark.parametrize("variant", VARIANTS)
def test_interrupted_after_any_epoch_it_ends_as_if_it_never_was(variant, tmp_path, small):
    study = make_study(**VARIANTS[variant])
    run(study, tmp_path / "whole")
    whole = trace(tmp_path / "whole")

    stops = 0
    for last in (1, 3, 1, 1):  # epochs until each interruption
        try:
            run(study, tmp_path / "stopped", progress=Interrupt(last))
        except KeyboardInterrupt:
            stops += 1
    outcome = run(study, tmp_path / "stopped")

    assert stops == 4
    assert 0 < outcome.trained < len(study.arms) * 2
    same(trace(tmp_path / "stopped"), whole)
    assert epochs_once(tmp_path / "stopped")


@pytest.mark.parametrize("compiled", [True, False])
def test_a_diverged_run_is_marked_and_stays_so_when_resumed(tmp_path, small, monkeypatch, compiled):
    """With torch's layers alone its losses stay finite, since norms follow its weights; its penalty does not."""
    if not compiled:
        monkeypatch.setattr("regulab.training.machine.missing", lambda device, dtype: "none in this test")
    study = make_study(**VARIANTS["a diverging arm"])
    with pytest.raises(KeyboardInterrupt):
        run(study, tmp_path / "runs", progress=Interrupt(3))

    assert run(study, tmp_path / "runs").diverged == [("wild", 0), ("wild", 1)]


def crashes_end_as_if_they_never_were(study: Study, root: Path, points: slice) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", (disk := Disk()).fsync)
        run(study, root / "whole")
    whole = trace(root / "whole")
    for last in range(1, disk.flushes + 1)[points]:
        directory = root / str(last)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", Disk(last).fsync)
            with pytest.raises(Crash):
                run(study, directory)
        run(study, directory)
        same(trace(directory), whole)
        assert epochs_once(directory)


def test_crashes_between_writes_end_as_if_they_never_were(tmp_path, small):
    crashes_end_as_if_they_never_were(make_study(), tmp_path, slice(2, None, 12))


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["final", "best_val, adam"])
def test_a_crash_between_any_two_writes_ends_as_if_it_never_was(variant, tmp_path, small):
    crashes_end_as_if_they_never_were(make_study(**VARIANTS[variant]), tmp_path, slice(None))


def test_a_crash_after_the_results_leaves_no_checkpoint_behind(tmp_path, small, monkeypatch):
    def crash(store: RunDirectory, fleet: int) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "delete_checkpoint", crash)
        with pytest.raises(Crash):
            run(make_study(), tmp_path / "runs")
    run(make_study(), tmp_path / "runs")

    assert not (tmp_path / "runs" / "checkpoints").exists()


def test_epochs_told_and_done_before_add_up_to_the_whole_study(tmp_path, small):
    study = make_study(arms={"none": {}, "l1": {"l1": 1e-3}})
    with pytest.raises(KeyboardInterrupt):
        run(study, tmp_path / "runs", progress=Interrupt(3))
    heard = Counted()
    run(study, tmp_path / "runs", progress=heard)

    assert heard.total == 2 * 2 * EPOCHS
    assert heard.done == 2 * 3
    assert heard.done + heard.told == heard.total


class Counted(Silent):
    """Counts runs' epochs."""

    def __init__(self) -> None:
        self.total = self.done = self.told = 0

    def started(self, beginning: Beginning) -> None:
        self.total, self.done = beginning.total, beginning.done

    def epoch(self, records: Any) -> None:
        self.told += len(records)


def test_a_torn_last_line_is_dropped(tmp_path, small):
    run(make_study(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(make_study(), tmp_path / "torn", progress=Interrupt(2))
    with (tmp_path / "torn" / "history.jsonl").open("a") as file:
        file.write('{"arm": "none", "seed": 0, "epo')

    run(make_study(), tmp_path / "torn")

    same(trace(tmp_path / "torn"), trace(tmp_path / "whole"))


def test_a_fleet_whose_checkpoint_was_deleted_starts_over(tmp_path, small):
    run(make_study(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(make_study(), tmp_path / "runs", progress=Interrupt(EPOCHS + 2))  # in the second fleet
    (tmp_path / "runs" / "checkpoints" / "fleet-1.safetensors").unlink()

    run(make_study(), tmp_path / "runs")

    same(trace(tmp_path / "runs"), trace(tmp_path / "whole"))


def test_a_fleet_that_trains_again_waits_for_the_one_that_was_begun(tmp_path, small):
    """Whose checkpoint knows the length of a history that the other one's lines must not change."""
    run(make_study(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(make_study(), tmp_path / "runs", progress=Interrupt(EPOCHS + 2))
    (tmp_path / "runs" / "weights" / "l1" / "seed-0.safetensors").unlink()

    run(make_study(), tmp_path / "runs")

    runs, whole = trace(tmp_path / "runs"), trace(tmp_path / "whole")
    for content in (runs, whole):
        content["history.jsonl"].sort(key=lambda line: (line["seed"], line["epoch"], line["arm"]))
    same(runs, whole)
    assert epochs_once(tmp_path / "runs")


def test_a_damaged_checkpoint_is_refused_and_nothing_is_lost(tmp_path, small):
    with pytest.raises(KeyboardInterrupt):
        run(make_study(), tmp_path / "runs", progress=Interrupt(EPOCHS + 2))
    checkpoint = tmp_path / "runs" / "checkpoints" / "fleet-1.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-5])
    before = trace(tmp_path / "runs")

    with pytest.raises(UserError, match=r"damaged checkpoint.*") as refusal:
        run(make_study(), tmp_path / "runs")

    assert refusal.value.where == str(checkpoint)
    same(trace(tmp_path / "runs"), before)


def test_a_finished_study_trains_nothing(tmp_path, small):
    assert run(make_study(), tmp_path / "runs").trained == 6
    before = {path: path.stat().st_mtime_ns for path in records_of(tmp_path / "runs")}
    heard = Counted()

    assert run(make_study(), tmp_path / "runs", progress=heard).trained == 0

    assert heard.total == heard.told == 0
    assert {path: path.stat().st_mtime_ns for path in records_of(tmp_path / "runs")} == before


def records_of(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def test_more_seeds_extend_a_study_as_if_asked_for_at_once(tmp_path, small):
    run(make_study(seeds=[0, 1]), tmp_path / "at once")
    assert run(make_study(seeds=[0]), tmp_path / "extended").trained == 3

    assert run(make_study(seeds=[0, 1]), tmp_path / "extended").trained == 3

    extended, at_once = trace(tmp_path / "extended"), trace(tmp_path / "at once")
    looks = [json.loads(records.pop("looks.json")) for records in (extended, at_once)]
    same(extended, at_once)
    assert [[(one["seeds"], one["rule"]) for one in seen] for seen in looks] == [
        [([0], "fixed"), ([0, 1], "sequential")],
        [([0, 1], "fixed")],
    ]


def test_a_study_extended_after_its_report_ends_with_the_same_counts_of_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "load", load_few)
    monkeypatch.setattr(planning, "PIXELS_PER_STEP", 1)
    study = {"arms": {"none": {}, "l1": {"l1": 1e-3}}}
    run(make_study(seeds=[0, 1, 2], **study), tmp_path / "at once")
    run(make_study(seeds=[1], **study), tmp_path / "extended")
    with pytest.raises(KeyboardInterrupt):
        run(make_study(seeds=[0, 2], **study), tmp_path / "extended", progress=Interrupt(EPOCHS + 1))
    run(make_study(seeds=[0, 2], **study), tmp_path / "extended")

    at_once, extended = ((tmp_path / name / "weights.json").read_bytes() for name in ("at once", "extended"))
    assert extended == at_once


def test_a_seed_gives_the_same_results_whichever_seeds_sail_beside(tmp_path, small, monkeypatch):
    monkeypatch.setattr(planning, "PIXELS_PER_STEP", 2**19)  # all seeds in one fleet
    study = {"train.precision": "fp32"}
    run(make_study(seeds=[0, 1], **study), tmp_path / "at once")
    run(make_study(seeds=[0], **study), tmp_path / "extended")
    run(make_study(seeds=[0, 1], **study), tmp_path / "extended")

    at_once, extended = (trace(tmp_path / name)["results.csv"] for name in ("at once", "extended"))
    for one, other in zip(at_once, extended, strict=True):
        for column in ("arm", "seed", "status", "epochs", "initial_weights_hash", "data_order_hash"):
            assert other[column] == one[column]
        for column in ("test_loss", "train_loss", "weight_norm_l2"):
            assert float(other[column]) == pytest.approx(float(one[column]), rel=1e-4)


def test_extending_an_interrupted_study_finishes_it_first(tmp_path, small):
    run(make_study(seeds=[0, 1, 2]), tmp_path / "at once")
    with pytest.raises(KeyboardInterrupt):
        run(make_study(seeds=[0, 1]), tmp_path / "extended", progress=Interrupt(2))
    run(make_study(seeds=[2]), tmp_path / "extended")

    same(trace(tmp_path / "extended"), trace(tmp_path / "at once"))


def test_fresh_starts_over(tmp_path, small):
    with pytest.raises(KeyboardInterrupt):
        run(make_study(seeds=[5]), tmp_path / "runs", progress=Interrupt(2))

    run(make_study(seeds=[1]), tmp_path / "runs", fresh=True)

    assert {row["seed"] for row in trace(tmp_path / "runs")["results.csv"]} == {"1"}
    assert {row["seed"] for row in trace(tmp_path / "runs")["history.jsonl"]} == {1}


KILLS = 10
# Where each kill strikes: within how long after which sign of life. Later stages need the earlier ones done.
STAGES = ["start", "train", "train", "tested", "start", "train", "train", "tested", "report", "report"]


class Process:
    """The study as a process of its own that logs how far it got: see `killed_study`."""

    def __init__(self, study: Study, directory: Path) -> None:
        self.log = directory.with_suffix(".log")
        self._before = len(self.log.read_text().splitlines()) if self.log.exists() else 0
        yaml = directory.with_suffix(".yaml")
        yaml.write_text(study.to_yaml())
        script = Path(__file__).with_name("killed_study.py")
        self.process = subprocess.Popen([sys.executable, script, yaml, directory, self.log])

    def events(self) -> list[dict[str, Any]]:
        """What this process logged so far."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines[self._before :]]

    def seen(self, stage: str) -> bool:
        return stage == "start" or any(event["stage"] == stage for event in self.events())

    def kill(self, stage: str, delay: float) -> bool:
        """SIGKILL ``delay`` seconds after a stage began; False where the process ended before that."""
        while not self.seen(stage):
            if self.process.poll() is not None:
                return False
            time.sleep(0.003)
        time.sleep(delay)
        self.process.kill()
        return self.process.wait() == -signal.SIGKILL


def lengths(events: list[dict[str, Any]], began: float, ended: float) -> dict[str, float]:
    """Seconds of each stage in a process that was left alone."""
    at = {event["stage"]: event["time"] for event in reversed(events)}  # the first of each
    ends = {"start": at["train"], "train": at["tested"], "tested": at["tested"] + 0.2, "report": ended}
    return {stage: end - at.get(stage, began) for stage, end in ends.items()}


@pytest.mark.slow
def test_killed_at_ten_random_moments_it_ends_as_if_it_never_was(tmp_path):
    study = make_study(**{"endpoint": {"epoch": "best_val"}, "train.epochs": 6, "train.batch_size": 64})
    began = time.time()
    reference = Process(study, tmp_path / "whole")
    assert reference.process.wait() == 0
    length = lengths(reference.events(), began, time.time())
    moments, kills, stages = random.Random(7), 0, iter(STAGES)
    while kills < KILLS:
        stage = next(stages, "start")
        share = 0.5 if stage == "train" else 1.0  # two kills of each fleet's training
        killed = Process(study, tmp_path / "killed").kill(stage, moments.uniform(0, share * length[stage]))
        kills += killed
    last = Process(study, tmp_path / "killed")
    assert last.process.wait() == 0

    same(trace(tmp_path / "killed"), trace(tmp_path / "whole"))
    assert epochs_once(tmp_path / "killed")
    lines = [json.loads(line) for line in last.log.read_text().splitlines()]
    trained = Counter((e["seeds"], e["epoch"]) for e in lines if e["stage"] == "train")
    planned = Counter((e["seeds"], e["epoch"]) for e in reference.events() if e["stage"] == "train")
    assert trained.keys() == planned.keys()
    assert 0 < trained.total() - planned.total() <= KILLS
    for before, after in pairwise([e for e in lines if e["stage"] == "train"]):
        same_fleet = after["seeds"] == before["seeds"]
        assert after["epoch"] - before["epoch"] in ((0, 1) if same_fleet else (1 - before["epoch"],))
