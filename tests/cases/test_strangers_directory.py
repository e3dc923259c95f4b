"""A run directory from a stranger reaches nothing outside: no link is followed, and only regulab's own files go."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import pytest

from regulab.errors import UserError
from regulab.reporting import write_report
from regulab.run_directory.reading import read_records
from regulab.run_directory.writing import RunDirectory
from regulab.training.planning import FleetPlan
from tests.cases.made_study import made_study, make
from tests.samples import epoch_record

FILES = (
    ".lock", "study.yaml", "history.jsonl", "results.csv", "fleets.json", "environment.json", "orders.json",
    "looks.json", "mistakes.npz", "weights.json", "checksums.json", "statistics.json", "README.md", "report.html",
    "table.tex", "predictions/none/seed-0.npz", "weights/l1/seed-1.safetensors", "checkpoints/fleet-0.safetensors",
    "figures/val_loss.png", "misclassified/none.png", ".regulab-0123456789abcdef.tmp",
)  # fmt: skip
FOLDERS = (
    "predictions",
    "predictions/none",
    "weights",
    "weights/l1",
    "checkpoints",
    "figures",
    "misclassified",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("made") / "run")


@pytest.fixture
def run(made, tmp_path):
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def everything(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def all_refuse(run: Path, name: str) -> None:
    """Going on, starting over, a report and a comparison: each names the place."""
    for fresh in (False, True):
        with pytest.raises(UserError, match=r"this is a|not a lock") as refusal:
            RunDirectory.open(run, made_study(), fresh=fresh)
        assert refusal.value.where == str(run / name)
    with pytest.raises(UserError, match=r"this is a|not a lock"):
        RunDirectory.reopen(run)


@pytest.mark.parametrize("name", FILES)
def test_a_linked_file_is_refused_and_what_it_points_to_stays(run, tmp_path, name):
    outside = tmp_path / "outside"
    outside.write_bytes((run / name).read_bytes() if (run / name).exists() else b"somebody's own")
    before = outside.read_bytes()
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(outside)
    all_refuse(run, name)
    with pytest.raises(UserError, match="this is a link"):
        read_records(run)
    assert outside.read_bytes() == before


@pytest.mark.parametrize("name", FOLDERS)
def test_a_linked_folder_is_refused_and_what_it_holds_stays(run, tmp_path, name):
    outside = tmp_path / "outside"
    if (run / name).exists():
        shutil.move(run / name, outside)
    else:
        outside.mkdir()
        (outside / "val_loss.png").write_text("mine")
    before = everything(outside)
    (run / name).symlink_to(outside, target_is_directory=True)
    all_refuse(run, name)
    with pytest.raises(UserError, match="this is a link"):
        read_records(run)
    assert everything(outside) == before


def test_a_link_that_comes_later_leads_no_write_outside(made, tmp_path):
    """A folder that becomes a link while the directory is open."""
    path, outside = tmp_path / "run", tmp_path / "outside"
    shutil.copytree(made, path)
    records = read_records(path)
    outside.mkdir()
    (path / "figures").symlink_to(outside, target_is_directory=True)
    with pytest.raises(UserError, match="figures: this is a link"):
        write_report(records, path)
    with RunDirectory.open(tmp_path / "other", made_study(), fresh=False) as store:
        (store.path / "checkpoints").symlink_to(outside, target_is_directory=True)
        (store.path / "history.jsonl").symlink_to(outside / "history")
        with pytest.raises(UserError, match="checkpoints"):
            store.save_checkpoint(0, {}, {})
        with pytest.raises(UserError, match=r"history\.jsonl"):
            store.append_history([epoch_record()])
    assert list(outside.iterdir()) == []


def test_a_second_name_of_the_history_keeps_its_content(run, tmp_path):
    os.link(run / "history.jsonl", tmp_path / "backup")
    before = (tmp_path / "backup").read_bytes()
    with RunDirectory.open(run, made_study(), fresh=False) as store:
        store.append_history([epoch_record(arm="l1", seed=0, epoch=9)])
        assert store.history_length() > len(before)
        store.truncate_history(10)
    assert (tmp_path / "backup").read_bytes() == before


def test_a_second_name_of_the_lock_keeps_its_content(run, tmp_path):
    (tmp_path / "mine").write_text("mine")
    os.link(tmp_path / "mine", run / ".lock")
    with pytest.raises(UserError, match=r"\.lock: not a lock of regulab"):
        RunDirectory.open(run, made_study(), fresh=False)
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("name", ["history.jsonl", "results.csv", ".lock", "predictions/none/seed-0.npz"])
def test_a_pipe_holds_nobody(run, name):
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    all_refuse(run, name)
    if name != ".lock":
        with pytest.raises(UserError, match="this is a pipe"):
            read_records(run)


def test_a_socket_and_a_folder_in_a_files_place_are_named(run, monkeypatch):
    monkeypatch.chdir(run)
    (run / "results.csv").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("results.csv")
        with pytest.raises(UserError, match=r"results\.csv: this is a socket"):
            read_records(run)
    (run / "results.csv").unlink()
    (run / "results.csv").mkdir()
    with pytest.raises(UserError, match=r"results\.csv: this is a folder"):
        read_records(run)


def test_only_temporary_files_of_exactly_our_name_go(run):
    own = (".regulab-0123456789abcdef.tmp", "predictions/none/.regulab-00112233445566ff.tmp")
    others = (
        ".tmp-1-x",
        ".regulab-mine.tmp",
        ".regulab-0123456789abcdef.tmp.bak",
        "mine/.regulab-0123456789abcdef.tmp",
    )
    for name in (*own, *others):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("")
    RunDirectory.open(run, made_study(), fresh=False).close()
    assert [name for name in own if (run / name).exists()] == []
    assert [name for name in others if not (run / name).exists()] == []


@pytest.mark.parametrize(
    "change",
    [
        {"index": "/../../x"}, {"index": -1}, {"index": 1}, {"index": 10**15}, {"index": True}, {"index": None},
        {"runs": [["none", -1]]}, {"runs": [["../x", 0]]}, {"runs": [["none", 0], ["none", 0]]}, {"runs": "none"},
        {"runs": [["none", 7]]}, {"runs": [["none"]]}, {"runs": [["none", 1]]}, {"runs": None},
    ],
)  # fmt: skip
def test_fleets_that_no_study_writes_are_refused(run, tmp_path, change):
    path = run / "fleets.json"
    fleets = json.loads(path.read_text())
    fleets[0].update(change)
    path.write_text(json.dumps(fleets))
    with (
        RunDirectory.open(run, made_study(), fresh=False) as store,
        pytest.raises(UserError, match=r"fleets\.json: [01](\.|: )(index|runs)"),
    ):
        store.read_fleets()
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    "change",
    [
        {"engine": "other"}, {"precision": "fp8"}, {"threads": 0}, {"threads": 10**6}, {"threads": "x"}, {"kernels": 3},
        {"conditions": "x"}, {"conditions": [{"torch": 3}]}, {"reason": "x" * 10**5}, {"more": 1},
    ],
)  # fmt: skip
def test_plans_that_nobody_made_are_refused(change):
    good = FleetPlan(0, (("none", 0),), "fleet", "", "fp32", 1, conditions=({"torch": "2.13"},))
    assert FleetPlan.of_json(json.loads(json.dumps(good.to_json()))) == good
    with pytest.raises(UserError, match=next(iter(change))):
        FleetPlan.of_json({**good.to_json(), **change}, "fleets.json: 0")


def test_names_that_would_move_a_cursor_are_refused_and_texts_written_out(run):
    text = (run / "study.yaml").read_text()
    (run / "study.yaml").write_text(text.replace("l1 (λ)", '"l1 \\x1b]0;x\\x07 \\u202e"'))
    with pytest.warns(UserWarning, match=r"study\.yaml: not as regulab wrote it"):
        assert read_records(run).legends["l1"] == "l1 [U+001B]]0;x[U+0007] [U+202E]"
    (run / "study.yaml").write_text(text.replace("dog", '"do\\u202eg"'))
    with (
        pytest.warns(UserWarning, match=r"study\.yaml"),
        pytest.raises(UserError, match=r"control characters in a name; got 'do\[U\+202E\]g'|U\+202E"),
    ):
        read_records(run)
    environment = json.loads((run / "environment.json").read_text())
    (run / "study.yaml").write_text(text)
    (run / "environment.json").write_text(json.dumps({**environment, "notes": ["\x1b[2J"]}))
    with pytest.warns(UserWarning, match=r"environment\.json"):
        assert read_records(run).environment["notes"] == ["[U+001B][2J"]
