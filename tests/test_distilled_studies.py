"""Studies whose arms learn from others: teachers come first, are those that were recorded, and are never left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import regulab.study
from regulab.cli import app
from regulab.cli.arguments import assembled_study
from regulab.dry_run import plan
from regulab.errors import UserError
from regulab.progress import Silent
from regulab.run_directory.writing import read_records
from regulab.statistics import compare
from regulab.training import planning, setup
from tests.test_resume import Interrupt, load_few, make_study, run, same, trace

ARMS: dict[str, dict[str, Any]] = {
    "again": {"distillation": {"teacher": "taught", "temperature": 2}},
    "none": {},
    "taught": {"distillation": "none"},
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "load", load_few)
    monkeypatch.setattr(planning, "PIXELS_PER_STEP", 1)
    monkeypatch.setattr(regulab.study, "write_report", lambda records, directory: None)


class Told(Silent):
    def __init__(self) -> None:
        self.messages: list[str] = []
        self.trained: list[tuple[str, int]] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    def epoch(self, records: Any) -> None:
        self.trained += [(record.arm, record.seed) for record in records]


def test_teachers_train_first_whatever_the_order_in_the_file(tmp_path):
    heard = Told()
    run(make_study(arms=ARMS, **{"train.epochs": 1}), tmp_path / "run", progress=heard)
    runs = [("none", 0), ("none", 1), ("taught", 0), ("taught", 1), ("again", 0), ("again", 1)]
    assert heard.trained == runs
    assert any(
        "“again” learns from “taught”: it trains after arms “none”, “taught”" in m for m in heard.messages
    )


def test_a_teacher_of_an_earlier_session_teaches_from_its_weights(tmp_path):
    """And more seeds bring more teachers, after the fleet that was begun."""
    run(STUDY, tmp_path / "whole")
    pieces, one = tmp_path / "pieces", STUDY.model_copy(update={"seeds": (0,)})
    with pytest.raises(KeyboardInterrupt):
        run(one, pieces, progress=Interrupt(3))
    assert (pieces / "weights" / "none" / "seed-0.safetensors").exists()
    heard = Told()
    run(STUDY, pieces, progress=heard)
    assert heard.trained == [("taught", 0), ("none", 1), ("none", 1), ("taught", 1), ("taught", 1)]
    whole, found = trace(tmp_path / "whole"), trace(pieces)
    for name in (f"weights/{arm}/seed-{seed}.safetensors" for arm in STUDY.arms for seed in (0, 1)):
        assert found[name] == whole[name], name


def test_a_teacher_that_diverged_takes_its_students_along(tmp_path):
    arms = {
        "none": {},
        "wild": {"l2": 1e4},
        "lost": {"distillation": "wild"},
        "again": {"distillation": "lost"},
    }
    heard = Told()
    outcome = run(make_study(arms={**arms, "fine": ARMS["taught"]}), tmp_path / "run", progress=heard)
    assert sorted(outcome.diverged) == [(arm, seed) for arm in ("again", "lost", "wild") for seed in (0, 1)]
    assert (
        "arm “lost” seed 1 counts as diverged: its teacher “wild” diverged, so there is nothing to learn from"
        in heard.messages
    )
    told = compare(read_records(tmp_path / "run")).arms
    assert told["lost"].verdict == "diverged"
    assert "its teacher “wild” diverged (seed 0, 1)" in (told["lost"].note or "")
    assert "its teacher “lost” diverged (seed 0, 1)" in (told["again"].note or "")
    assert "teacher" not in (told["wild"].note or "") + (told["fine"].note or "")
    assert (told["fine"].mean or 0) > 0


def test_so_the_command_ends_with_exit_code_3(tmp_path):
    file = tmp_path / "lost.yaml"
    file.write_text(
        "{name: lost, data: digits, seeds: 1, train: {epochs: 4, batch_size: 32}, "
        "arms: {none: {}, wild: {l2: 1e+4}, lost: {distillation: wild}}}"
    )
    done = CliRunner().invoke(app, ["run", str(file), "--out", str(tmp_path / "run"), "--quiet"])
    assert done.exit_code == 3, done.output
    assert "diverged: arm “wild” seed 0, arm “lost” seed 0" in done.stderr


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A directory whose teachers are done and whose students have trained one epoch of two."""
    with pytest.raises(KeyboardInterrupt):
        run(STUDY, tmp_path / "run", progress=Interrupt(2 + 2 + 1))
    return tmp_path / "run"


STUDY = make_study(arms={"none": {}, "taught": ARMS["taught"]}, **{"train.epochs": 2})


def test_a_teacher_whose_weights_are_gone_trains_again(begun, tmp_path):
    (begun / "weights" / "none" / "seed-0.safetensors").unlink()
    heard = Told()
    run(STUDY, begun, progress=heard)
    assert heard.trained == [("none", 0)] * 2 + [("taught", 0)] * 2 + [("taught", 1)] * 2
    assert "fleet 2 starts over: a teacher of its runs trains again" in heard.messages
    run(STUDY, tmp_path / "whole")
    again, whole = trace(begun), trace(tmp_path / "whole")
    for content in (again, whole):  # the lines of what trained again stand last
        content["history.jsonl"].sort(key=lambda record: (record["arm"], record["seed"], record["epoch"]))
    same(again, whole)


def test_a_teacher_whose_weights_were_changed_is_refused(begun):
    file = begun / "weights" / "none" / "seed-0.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match="a teacher's weights are not those that were recorded") as raised:
        run(STUDY, begun)
    assert raised.value.where == str(file)


def test_students_that_are_done_need_no_teacher(begun):
    """Nothing reads a teacher's weights where nobody learns from it any more."""
    run(STUDY, begun)
    file = begun / "weights" / "none" / "seed-0.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert run(STUDY, begun).trained == 0


def test_where_the_plan_is_lost_the_teachers_stay(begun, tmp_path):
    """Nobody knows then how they trained, and their plain networks teach."""
    fleets = begun / "fleets.json"
    kept = [fleet for fleet in json.loads(fleets.read_text()) if ["taught", 0] in fleet["runs"]]
    fleets.write_text(json.dumps([{**fleet, "index": 0} for fleet in kept]))
    for checkpoint in (begun / "checkpoints").iterdir():
        checkpoint.unlink()
    heard = Told()
    run(STUDY, begun, progress=heard)
    assert {arm for arm, _ in heard.trained} == {"taught"}
    assert {row["status"] for row in trace(begun)["results.csv"]} == {"completed"}


def test_seeds_that_are_added_bring_their_teachers(tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "PIXELS_PER_STEP", 2**19)
    study = make_study(arms={"none": {}, "taught": {"distillation": "none"}}, **{"train.epochs": 1})
    run(study, tmp_path / "run", max_seeds=9)
    looks = json.loads((tmp_path / "run" / "looks.json").read_text())
    rows = trace(tmp_path / "run")["results.csv"]
    assert len(rows) == 2 * len(looks[-1]["seeds"]) >= 10
    assert {row["status"] for row in rows} == {"completed"}


def test_a_dry_run_counts_the_teachers_forward_passes(tmp_path):
    """Of fleets in their order, and says whose training is part of whose cost."""
    planned = plan(make_study(arms=ARMS), data_root=tmp_path, device="cpu")
    arms = [fleet.runs[0][0] for fleet in planned.fleets]
    assert arms == ["none", "none", "taught", "taught", "again", "again"]
    assert planned.training_seconds > 0
    assert any("every step evaluates the teacher" in note for note in planned.notes)


def test_arms_without_their_teacher_are_refused_with_what_would_do(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(f"name: few\narms: {json.dumps(ARMS)}\n")
    with pytest.raises(UserError, match=r"again learns from taught.*expected taught,none,again"):
        assembled_study([str(file)], arms="none,again")
    assert [*assembled_study([str(file)], arms="none,taught").arms] == ["none", "taught"]
    assert [*assembled_study([str(file)], arms="taught,none,again").arms] == ["taught", "none", "again"]
