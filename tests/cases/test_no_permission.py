"""No permission to read: exit code 2 and the reason, for every file of a run directory."""

from __future__ import annotations

import errno
import os
import shutil
import warnings
from pathlib import Path

import pytest
from typer.testing import CliRunner

from regulab.cli import app
from regulab.errors import UserError
from regulab.files import json_bytes
from regulab.reporting.weights import to_json
from regulab.run_directory.writing import RunDirectory
from tests.cases.made_study import made_study, make

CHECKPOINT = "checkpoints/fleet-0.safetensors"
READ = (
    "study.yaml", "environment.json", "history.jsonl", "results.csv", "orders.json", "looks.json", "mistakes.npz",
    "checksums.json", "weights.json", "predictions/none/seed-0.npz", "weights/l1/seed-1.safetensors",
    "predictions", "predictions/none", "weights/l1", ".",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = make(tmp_path_factory.mktemp("made") / "run")
    (path / "looks.json").write_text('[{"seeds": [0, 1], "arms": {}}]')
    (path / "weights.json").write_bytes(json_bytes(to_json({})))
    return path


def forbid(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """What the system does for anybody but root, whom it lets read everything."""
    hidden = place.is_dir()
    calls = {"open": os.open, "listdir": os.listdir, "scandir": os.scandir}
    stats = {"lstat": os.lstat, "stat": os.stat}

    def guarded(call):
        def guard(path, *arguments, **options):
            given = Path(os.fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else Path()
            if given == place or (hidden and place in given.parents):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return call(path, *arguments, **options)

        return guard

    for name, call in calls.items():
        monkeypatch.setattr(os, name, guarded(call))

    def hides(call):
        def guard(path, *arguments, **options):
            if isinstance(path, str | os.PathLike) and hidden and place in Path(os.fspath(path)).parents:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return call(path, *arguments, **options)

        return guard

    for name, call in stats.items():
        monkeypatch.setattr(os, name, hides(call))


@pytest.mark.parametrize("name", READ)
def test_every_command_says_what_cannot_be_read(made, tmp_path, name, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(made, run)
    commands = [["report", str(run)]]
    if not name.startswith("weights"):
        commands.append(["compare", str(run)])
    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        forbid(patch, run / name)
        for command in commands:
            done = CliRunner().invoke(app, command)
            assert (done.exit_code, type(done.exception)) == (2, SystemExit), done.output
            assert str(run / name) in done.output
            assert "Permission denied" in done.output


GOES_ON = ("study.yaml", "fleets.json", "results.csv", "orders.json", "history.jsonl", CHECKPOINT)


@pytest.mark.parametrize("name", GOES_ON)
def test_who_goes_on_with_a_study_is_told_too(made, tmp_path, name, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(made, run)
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "fleet-0.safetensors").write_bytes(b"")
    forbid(monkeypatch, run / name)
    with pytest.raises(UserError, match="Permission denied") as refusal:
        go_on(run)
    assert refusal.value.where == str(run / name)


def go_on(run: Path) -> None:
    with RunDirectory.open(run, made_study(), fresh=False) as store:
        store.read_fleets()
        store.read_results()
        store.read_orders()
        store.forget_history([("none", 0)])
        store.load_checkpoint(0)
