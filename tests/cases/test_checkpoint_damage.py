"""Checkpoints: no bit of one changes unseen, and none is loaded that is not of the fleet's own shapes."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

import regulab.study
from regulab.errors import UserError
from regulab.run_directory.checkpoints import checkpoint_bytes, read_checkpoint
from regulab.training import planning, setup
from tests.test_resume import Interrupt, load_few, make_study, run, same, trace

ARRAYS = {"trainer/weight": np.arange(60, dtype=np.float32).reshape(6, 10), "trainer/count": np.array([3, 4])}


def test_every_flipped_bit_is_told(tmp_path):
    path, draws = tmp_path / "fleet-0.safetensors", random.Random(3)
    whole = checkpoint_bytes(ARRAYS, {"epoch": 2, "logs": []})
    header = 8 + int.from_bytes(whole[:8], "little")
    regions = {"length": (0, 8), "checksum": (34, 98), "header": (8, header), "tensors": (header, len(whole))}
    assert read_file(path, whole) == {"epoch": 2, "logs": []}
    for region in regions.values():
        for _ in range(60):
            changed, place = bytearray(whole), draws.randrange(*region)
            changed[place] ^= 1 << draws.randrange(8)
            with pytest.raises(UserError, match=r"fleet-0\.safetensors: damaged checkpoint"):
                read_file(path, bytes(changed))


def read_file(path: Path, content: bytes) -> dict[str, Any]:
    path.write_bytes(content)
    found = read_checkpoint(path)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("length", [0, 7, 8, 40, 200, -1])
def test_a_cut_one_is_told(tmp_path, length):
    with pytest.raises(UserError, match=r"damaged checkpoint.*delete this file"):
        read_file(tmp_path / "fleet-0.safetensors", checkpoint_bytes(ARRAYS, {})[:length])


def test_one_of_an_earlier_version_has_no_checksum_and_is_refused_with_the_cure(tmp_path):
    old = save(ARRAYS, {"state": json.dumps({"epoch": 2})})
    with pytest.raises(UserError, match=r"no checksum.*delete this file to train its fleet from the start"):
        read_file(tmp_path / "fleet-0.safetensors", old)


@pytest.fixture(scope="module", params=["fleet", pytest.param("plain", marks=pytest.mark.slow)])
def stopped(request, tmp_path_factory):
    """A study that was interrupted in its second epoch, and the same left alone."""
    folder = tmp_path_factory.mktemp(request.param)
    study = make_study(
        **{"train.engine": request.param, "arms": {"none": {}, "l1": {"l1": 1e-3}}, "seeds": 1}
    )
    with pytest.MonkeyPatch.context() as patch:
        few(patch)
        with pytest.raises(KeyboardInterrupt):
            run(study, folder / "stopped", progress=Interrupt(2))
        run(study, folder / "whole")
    return study, folder


def few(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(setup, "load", load_few)
    patch.setattr(planning, "PIXELS_PER_STEP", 1)
    patch.setattr(regulab.study, "write_report", lambda records, directory: None)


def resumed(stopped: Any, to: Path, change: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Goes on from the checkpoint after ``change`` of its arrays and state, with a checksum that is right."""
    study, folder = stopped
    shutil.copytree(folder / "stopped", to)
    path = to / "checkpoints" / "fleet-0.safetensors"
    found = read_checkpoint(path)
    assert found is not None
    arrays, state = found
    change(arrays, state)
    path.write_bytes(checkpoint_bytes(arrays, state))
    few(monkeypatch)
    run(study, to)
    return to


def test_unchanged_it_goes_on_to_the_same_bytes(stopped, tmp_path, monkeypatch):
    same(trace(resumed(stopped, tmp_path / "run", lambda *_: None, monkeypatch)), trace(stopped[1] / "whole"))


def first_of_the_trainer(arrays: dict[str, Any]) -> str:
    return next(
        name for name, array in sorted(arrays.items()) if name.startswith("trainer/") and array.ndim > 2
    )


def drop(arrays: dict[str, Any], state: dict[str, Any]) -> None:
    del arrays[first_of_the_trainer(arrays)]


def narrow(arrays: dict[str, Any], state: dict[str, Any]) -> None:
    arrays[first_of_the_trainer(arrays)] = arrays[first_of_the_trainer(arrays)][..., :1]


def widen(arrays: dict[str, Any], state: dict[str, Any]) -> None:
    arrays[first_of_the_trainer(arrays)] = arrays[first_of_the_trainer(arrays)].astype(np.float64)


def add(arrays: dict[str, Any], state: dict[str, Any]) -> None:
    arrays["trainer/other"] = np.zeros(3)


def stray(arrays: dict[str, Any], state: dict[str, Any]) -> None:
    arrays["elsewhere"] = np.zeros(3)


def keep_another(arrays: dict[str, Any], state: dict[str, Any]) -> None:
    arrays["kept/99/weight"] = np.zeros(3)


def keep_less(arrays: dict[str, Any], state: dict[str, Any]) -> None:
    arrays["kept/0/weight"] = np.zeros(3)


def log(**changes: Any) -> Any:
    def change(arrays: dict[str, Any], state: dict[str, Any]) -> None:
        state["logs"][0].update(changes)

    return change


def state_of(**changes: Any) -> Any:
    def change(arrays: dict[str, Any], state: dict[str, Any]) -> None:
        state.update(changes)

    return change


def planned(**changes: Any) -> Any:
    def change(arrays: dict[str, Any], state: dict[str, Any]) -> None:
        state["plan"].update(changes)

    return change


FEW = [drop, narrow, log(arm="l2"), log(orders=[]), state_of(epoch=10**9), planned(precision="fp64")]
MANY = [
    widen, add, stray, keep_another, keep_less,
    log(seed=-1), log(active=3), log(status="lost"), log(val_losses=[float("nan")]), log(initial_weights_hash="0"),
    log(status="diverged"), log(seconds="long"), state_of(epoch=-1), state_of(epoch="two"), state_of(logs=[]),
    state_of(logs=3), state_of(history_length=10**12), state_of(history_length=-1), state_of(plan={}),
    planned(threads=7), planned(kernels="no"), planned(runs=[["l1", 0]]),
]  # fmt: skip


@pytest.mark.parametrize("change", [*FEW, *(pytest.param(one, marks=pytest.mark.slow) for one in MANY)])
def test_what_is_not_of_this_fleet_is_refused_by_name(stopped, tmp_path, change, monkeypatch):
    if stopped[0].train.engine == "plain" and change in (drop, widen):
        change = narrow
    with pytest.raises(UserError, match=r"fleet-0\.safetensors|history\.jsonl"):
        resumed(stopped, tmp_path / "run", change, monkeypatch)
    assert not (tmp_path / "run" / "results.csv").exists()


def test_fleets_that_say_otherwise_than_the_checkpoint_are_refused(stopped, tmp_path, monkeypatch):
    """A digit that changed in fleets.json would train on with other threads, and so to other bits."""

    def change(arrays: dict[str, Any], state: dict[str, Any]) -> None:
        path = tmp_path / "run" / "fleets.json"
        fleets = json.loads(path.read_text())
        fleets[0]["threads"] += 1
        path.write_text(json.dumps(fleets))

    with pytest.raises(UserError, match=r"begun with another threads than fleets\.json says of fleet 0"):
        resumed(stopped, tmp_path / "run", change, monkeypatch)
