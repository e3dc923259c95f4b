"""``report`` and a run: one writes at a time, it is said who, and what a killed one left goes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from regulab.cli import app
from regulab.errors import UserError
from regulab.files import write_whole
from regulab.run_directory.writing import RunDirectory
from tests.cases.made_study import made_study, make

HOLDER = """
import sys
from pathlib import Path
from regulab.run_directory.writing import RunDirectory
sys.argv = ["/usr/bin/regulab", "run", "--out", "x\\x1b[2J"]
with RunDirectory.reopen(Path(sys.argv.pop() and DIRECTORY)):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("made") / "run")


def test_report_and_run_say_who_writes_and_compare_does_not_ask(made):
    code = HOLDER.replace("sys.argv.pop() and DIRECTORY", repr(str(made)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        said = rf"another process \(pid {holder.pid}\) is writing this run directory: `regulab run --out x\?\[2J` on "
        before = sorted(made.rglob("*"))
        refused = CliRunner().invoke(app, ["report", str(made)])
        assert refused.exit_code == 2
        assert re.search(said, refused.output)
        for fresh in (False, True):
            with pytest.raises(UserError, match=said):
                RunDirectory.open(made, made_study(), fresh=fresh)
        with pytest.warns(UserWarning, match="could not be recorded"):
            assert CliRunner().invoke(app, ["compare", str(made)]).exit_code == 0
        assert [p for p in before if not p.exists()] == []
        holder.communicate("")
    RunDirectory.reopen(made).close()
    assert not (made / ".lock").exists()


def test_a_report_holds_the_lock_while_it_writes(made, monkeypatch):
    seen = []

    def write(records, directory):
        with pytest.raises(UserError, match=f"pid {os.getpid()}"):
            RunDirectory.open(directory, made_study(), fresh=False)
        seen.append(directory)

    monkeypatch.setattr("regulab.reporting.write_report", write)
    done = CliRunner().invoke(app, ["report", str(made)])
    assert done.exit_code == 0, done.output
    assert seen == [made]


def test_what_a_killed_report_left_goes_with_the_next(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "run")

    def killed(source, target):
        raise SystemError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        for name in ("report.html", "figures/val_loss.png", "misclassified/none.png"):
            with pytest.raises(SystemError):
                write_whole(tmp_path / "run" / name, b"half")
    assert len(list((tmp_path / "run").rglob(".regulab-*"))) == 3
    RunDirectory.reopen(tmp_path / "run").close()
    assert list((tmp_path / "run").rglob(".regulab-*")) == []


@pytest.mark.parametrize("what", ["nowhere", "empty", "file", "others"])
def test_where_there_is_no_run_directory_nothing_is_written(what, tmp_path):
    path = tmp_path / what
    if what == "file":
        path.write_text("")
    elif what != "nowhere":
        path.mkdir()
    if what == "others":
        (path / "README.md").write_text("mine")
    done = CliRunner().invoke(app, ["report", str(path)])
    assert done.exit_code == 2
    assert str(path) in done.output
    assert not path.is_dir() or [p.name for p in path.iterdir()] == ["README.md"] * (what == "others")
