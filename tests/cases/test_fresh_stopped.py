"""``--fresh`` stopped at any point: the old study as it was, or an empty new one, and never something between."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regulab.errors import UserError
from regulab.files import Lock
from regulab.run_directory.reading import read_records
from regulab.run_directory.writing import RunDirectory
from regulab.statistics import compare
from tests.cases.made_study import made_study, make

OTHER = made_study(seeds=(5,), name="other")
MUTATING = ("replace", "unlink", "rmdir", "mkdir", "fsync", "ftruncate")
OWN = ("notes.txt", "predictions/none/mine.txt", "figures/mine.png", "weights/readme.md", ".tmp-mine")


class Crash(BaseException):
    """The end of a process: nothing that it would still have done is done."""


class Deadly:
    """Counts calls that change the disk, and from the ``last``-th on refuses them all, as a dead process does."""

    def __init__(self, last: int | None = None) -> None:
        self.last, self.calls = last, 0

    def guard(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            if self.last is not None and self.calls >= self.last:
                raise Crash
            return call(*arguments, **options)

        return guarded

    def around(self, patch: pytest.MonkeyPatch) -> None:
        for name in MUTATING:
            patch.setattr(os, name, self.guard(getattr(os, name)))
        patch.setattr(Lock, "release", lambda lock: os.close(lock._descriptor))  # as the system does it


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = make(tmp_path_factory.mktemp("made") / "run")
    (path / "figures").mkdir()
    for name in ("README.md", "statistics.json", "figures/val_loss.png"):
        (path / name).write_text("a page")
    for name in OWN:
        (path / name).write_text("mine")
    return path


def contents(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def crash_in_fresh(path: Path, last: int | None) -> int:
    deadly = Deadly(last)
    with pytest.MonkeyPatch.context() as patch:
        deadly.around(patch)
        try:
            RunDirectory.open(path, OTHER, fresh=True).close()
        except Crash:
            return deadly.calls
    return deadly.calls


def test_whenever_it_stops_it_is_the_old_study_or_an_empty_one(made, tmp_path):
    old, comparison = contents(made), compare(read_records(made)).to_json()
    shutil.copytree(made, tmp_path / "0")
    points = crash_in_fresh(tmp_path / "0", None)
    assert points > 20
    before = 0
    for last in range(1, points + 1):
        path = tmp_path / str(last)
        shutil.copytree(made, path)
        crash_in_fresh(path, last)
        left = {name: content for name, content in contents(path).items() if name != ".lock"}
        if left == old:
            before += 1
            assert compare(read_records(path)).to_json() == comparison
            RunDirectory.open(path, made_study(), fresh=False).close()
            assert contents(path) == old
            continue
        with pytest.raises(UserError):
            read_records(path)
        with RunDirectory.open(path, OTHER, fresh=False) as opened:  # the same command, without --fresh
            assert opened.study == OTHER
            assert opened.read_results() == ()
            assert opened.read_fleets() == []
            assert opened.read_orders() == {}
            assert opened.history_length() == 0
        assert set(contents(path)) == {"study.yaml", *OWN}
    assert 1 <= before < points / 2


def test_stopped_and_given_again_with_fresh_it_is_empty_too(made, tmp_path):
    for last in (3, 8, 15):
        path = tmp_path / str(last)
        shutil.copytree(made, path)
        crash_in_fresh(path, last)
        RunDirectory.open(path, OTHER, fresh=True).close()
        assert set(contents(path)) == {"study.yaml", *OWN}


def test_between_it_says_what_it_is(made, tmp_path):
    shutil.copytree(made, tmp_path / "run")
    crash_in_fresh(tmp_path / "run", 6)
    with pytest.raises(UserError, match="being emptied by --fresh, which was stopped; run its study again"):
        read_records(tmp_path / "run")
    with pytest.raises(UserError, match="being emptied"):
        RunDirectory.reopen(tmp_path / "run")


PROJECT = ("README.md", "weights/model.pt", "figures/plot.png", "src/train.py", "statistics.json")


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize(
    "beside", [PROJECT, ("README.md",), ("checksums.json",), ("weights/none/seed-0.safetensors",)]
)
def test_a_project_that_holds_a_copy_of_a_study_is_no_run_directory(made, tmp_path, fresh, beside):
    shutil.copyfile(made / "study.yaml", tmp_path / "study.yaml")
    for name in beside:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="not empty and not a run directory"):
        RunDirectory.open(tmp_path, made_study(), fresh=fresh)
    with pytest.raises(UserError, match="not empty and not a run directory"):
        RunDirectory.reopen(tmp_path)
    assert contents(tmp_path) == before


def test_a_project_with_other_files_alone_loses_none(made, tmp_path):
    shutil.copyfile(made / "study.yaml", tmp_path / "study.yaml")
    (tmp_path / "train.py").write_text("mine")
    RunDirectory.open(tmp_path, made_study(), fresh=True).close()
    assert (tmp_path / "train.py").read_text() == "mine"
