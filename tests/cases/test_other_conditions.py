"""A study that goes on elsewhere: what was chosen is held or refused, and where it ran is said."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import regulab.study
from regulab.errors import UserError
from regulab.progress import Silent
from regulab.run_directory.reading import read_records
from regulab.training import conditions, planning, setup
from regulab.training.conditions import condition_remarks, settled, with_earlier
from regulab.training.environment import describe
from regulab.training.machine import choose_machine
from regulab.training.planning import FleetPlan
from tests.test_resume import Interrupt, load_few, make_study, run, same, trace

STUDY = make_study(**{"arms": {"none": {}, "l1": {"l1": 1e-3}}, "train.precision": "fp32"})
EPOCHS = STUDY.train.epochs


@pytest.fixture(autouse=True)
def small(monkeypatch):
    few(monkeypatch)


def few(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(setup, "load", load_few)
    patch.setattr(planning, "PIXELS_PER_STEP", 1)
    patch.setattr(regulab.study, "write_report", lambda records, directory: None)


class Told(Silent):
    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


def elsewhere(patch: pytest.MonkeyPatch, **changes: str) -> None:
    """As if another machine: other versions, another processor."""
    known = conditions.conditions
    patch.setattr(conditions, "conditions", lambda machine: {**known(machine), **changes})


def without_compiler(patch: pytest.MonkeyPatch) -> None:
    def plain(*asked: Any) -> Any:
        return replace(choose_machine(*asked), kernels=False)

    patch.setattr(planning, "choose_machine", plain)


def stopped(directory: Path, epochs: int = 2) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(STUDY, directory, progress=Interrupt(epochs))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The study when nothing stopped it."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        few(patch)
        run(STUDY, directory)
    return directory


@pytest.fixture
def finished(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def fleets(directory: Path) -> list[dict[str, Any]]:
    return json.loads((directory / "fleets.json").read_text())


def has_kernels() -> bool:
    return choose_machine("cpu", "fp32").kernels


def test_a_fleet_begun_with_kernels_does_not_go_on_without(tmp_path, monkeypatch):
    if not has_kernels():
        pytest.skip("no compiled kernels on this machine")
    stopped(tmp_path / "run")
    before = trace(tmp_path / "run") if (tmp_path / "run" / "results.csv").exists() else None
    assert before is None  # the first fleet is not done
    with monkeypatch.context() as patch:
        without_compiler(patch)
        with pytest.raises(
            UserError, match="fleet 0 was begun with compiled kernels, and there are none"
        ) as refusal:
            run(STUDY, tmp_path / "run")
        assert refusal.value.where == str(tmp_path / "run" / "checkpoints" / "fleet-0.safetensors")
        assert "delete this file" in str(refusal.value)
        Path(refusal.value.where).unlink()  # the cure
        told = Told()
        run(STUDY, tmp_path / "run", progress=told)
    assert any(
        "planned with compiled kernels; there are none here, and it trains without" in m
        for m in told.messages
    )
    assert [fleet["kernels"] for fleet in fleets(tmp_path / "run")] == [False, False]
    assert "kernels" not in fleets(tmp_path / "run")[0]["conditions"][0]


def test_where_nothing_changed_the_bytes_are_those_of_a_study_never_stopped(whole, tmp_path):
    stopped(tmp_path / "run", EPOCHS + 1)
    run(STUDY, tmp_path / "run")
    same(trace(tmp_path / "run"), trace(whole))
    for fleet in fleets(tmp_path / "run"):
        (one,) = fleet["conditions"]
        assert {"torch", "numpy", "processor", "instructions", "device"} <= one.keys()
    assert "earlier" not in read_records(tmp_path / "run").environment
    assert not any("conditions" in note for note in read_records(tmp_path / "run").environment["notes"])


@pytest.mark.usefixtures("without_report")
def test_a_fleet_that_goes_on_elsewhere_says_so_on_the_way_and_in_its_notes(tmp_path, monkeypatch):
    stopped(tmp_path / "run")
    elsewhere(monkeypatch, torch="9.9", processor="another")
    told = Told()
    run(STUDY, tmp_path / "run", progress=told)
    assert any(
        m.startswith("fleet 0 goes on under other conditions: torch ") and "→ 9.9" in m for m in told.messages
    )
    assert [len(fleet["conditions"]) for fleet in fleets(tmp_path / "run")] == [2, 1]
    notes = read_records(tmp_path / "run").environment["notes"]
    assert any("fleet 0 was interrupted and went on under other conditions: torch " in note for note in notes)


@pytest.mark.slow
def test_more_seeds_on_another_machine_are_said_and_the_first_environment_stays(finished, monkeypatch):
    first = read_records(finished).environment
    elsewhere(monkeypatch, torch="9.9")
    monkeypatch.setattr(regulab.study, "describe", lambda *a: {**describe(*a), "processor": "another"})
    run(STUDY.model_copy(update={"seeds": (0, 1, 2)}), finished)
    environment = read_records(finished).environment
    assert environment["processor"] == "another"
    assert environment["earlier"] == [{key: value for key, value in first.items() if key != "notes"}]
    (note,) = [note for note in environment["notes"] if "conditions" in note]
    assert note.startswith("fleets from 2 on trained under other conditions than those before: torch ")
    assert note.endswith("→ 9.9")


@pytest.mark.parametrize(
    "name",
    [pytest.param("weights/l1/seed-1.safetensors", marks=pytest.mark.slow), "predictions/none/seed-1.npz"],
)
def test_results_without_their_files_train_again_to_the_same_bytes(whole, finished, name):
    (finished / name).unlink()
    told = Told()
    assert run(STUDY, finished, progress=told).trained == 2
    assert any(name in message and "trains again" in message for message in told.messages)
    same(trace(finished), trace(whole))


def test_results_without_their_files_do_not_train_again_elsewhere(whole, finished, monkeypatch):
    (finished / "weights" / "l1" / "seed-1.safetensors").unlink()
    elsewhere(monkeypatch, torch="9.9")
    with pytest.raises(UserError, match=r"seed-1\.safetensors: missing, though its run has results.*→ 9\.9"):
        run(STUDY, finished)
    before = trace(whole)
    del before["weights/l1/seed-1.safetensors"]
    same(trace(finished), before)


def test_damaged_weights_of_a_finished_run_are_named(finished):
    path = finished / "weights" / "l1" / "seed-1.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"seed-1\.safetensors: damaged weights"):
        run(STUDY, finished)


@pytest.mark.slow
def test_results_whose_plan_is_gone_are_kept(finished):
    rows = (finished / "results.csv").read_text().splitlines()
    (finished / "fleets.json").unlink()
    assert run(STUDY.model_copy(update={"seeds": (0, 1, 2)}), finished).trained == 2
    after = (finished / "results.csv").read_text().splitlines()
    assert [row for row in rows if row not in after] == []


PLAN = FleetPlan(3, (("none", 0),), "fleet", "", "fp32", 1)


def test_another_device_is_refused_for_what_was_begun():
    machine = choose_machine("cpu", "fp32")
    begun = replace(PLAN, conditions=({**conditions.conditions(machine), "device": "cuda"},))
    with pytest.raises(UserError, match="fleet 3 was begun on the device cuda, and would go on on cpu"):
        settled(begun, machine, begun=True, checkpoint=Path("c"))
    fresh, message = settled(begun, machine, begun=False, checkpoint=Path("c"))
    assert (fresh.conditions, message) == ((conditions.conditions(machine),), None)


def test_remarks_tell_each_change_once():
    a, b = {"torch": "1", "processor": "p"}, {"torch": "2", "processor": "p", "kernels": "k"}
    plans = [replace(PLAN, index=i, conditions=one) for i, one in enumerate([(a,), (b,), (b,), (a, b), ()])]
    assert condition_remarks(plans) == [
        "fleet 3 was interrupted and went on under other conditions: torch 1 → 2, kernels none → k",
        "fleets from 1 on trained under other conditions than those before: torch 1 → 2",
        "fleets from 3 on trained under other conditions than those before: torch 2 → 1",
    ]
    assert condition_remarks(plans[1:3]) == []


def test_earlier_environments_are_kept_once_each():
    a, b = {"torch": "1", "notes": ["x"]}, {"torch": "2", "notes": []}
    once = with_earlier(b, a)
    assert once == {**b, "earlier": [{"torch": "1"}]}
    assert with_earlier(b, once) == once
    assert with_earlier(a, once) == {**a, "earlier": [{"torch": "2"}]}
    assert with_earlier(a, None) == a


OLDER = {"kernels": "8bf3d8a2968e", "tiles": "yes", "torch": "2.13.0"}
NOW = {"kernels": "17e0d7d76ce5", "level": "amx", "convolutions": "matrix units", "torch": "2.13.0"}


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (OLDER, NOW, "kernels 8bf3d8a2968e → 17e0d7d76ce5"),
        (
            OLDER,
            {**NOW, "convolutions": "vectors"},
            "kernels 8bf3d8a2968e → 17e0d7d76ce5, convolutions matrix units → vectors",
        ),
        ({**OLDER, "tiles": "no"}, NOW, "kernels 8bf3d8a2968e → 17e0d7d76ce5"),
        (NOW, {**NOW, "level": "avx2"}, "level amx → avx2"),
        (
            {"torch": "2.13.0"},
            {**NOW, "torch": "2.14.0"},
            "torch 2.13.0 → 2.14.0, kernels none → 17e0d7d76ce5, ",
        ),
    ],
    ids=["matrix units stay", "vectors come", "nothing known", "level", "kernels come"],
)
def test_what_an_older_version_recorded_is_not_told_as_lost(before, now, told):
    assert conditions.changes(before, now).startswith(told)
    assert (conditions.changes(before, now) == told) is not told.endswith(", ")
    assert "tiles" not in conditions.changes(before, now)


def planned(index: int, arm: str, precision: str, kernels: bool) -> FleetPlan:
    return FleetPlan(index, ((arm, index),), "fleet", "", precision, 1, kernels)


def test_seeds_that_are_added_without_kernels_or_in_another_precision_are_told():
    alike = [
        planned(0, "none", "bf16", True),
        planned(1, "slopes", "fp32", False),
        planned(2, "none", "bf16", True),
    ]
    assert condition_remarks(alike) == []
    later = [planned(3, "none", "fp32", False), planned(4, "none", "fp32", False)]
    assert condition_remarks([*alike, *later]) == [
        "fleets from 3 on train “none” in fp32, without compiled kernels; those before in bf16, with compiled kernels"
    ]
