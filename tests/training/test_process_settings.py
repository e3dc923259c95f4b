"""What regulab sets of the process is given back, however its work ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import regulab.study
from regulab import dry_run
from regulab.errors import UserError
from regulab.progress import Silent
from regulab.training import machine
from regulab.training.cores import cores
from regulab.training.machine import choose_machine, process_settings
from tests.training.setups import study_of

STUDY = study_of(
    {"none": {}, "l1": {"l1": 1e-3}},
    seeds=1,
    train={"epochs": 1},
    data={"name": "digits", "train_images": 60},
)


def state() -> dict[str, Any]:
    """Every setting that training changes, as torch says it."""
    backends = torch.backends
    return {
        "threads": torch.get_num_threads(),
        "products": torch.get_float32_matmul_precision(),
        "cuBLAS": backends.cuda.matmul.allow_tf32,
        "cuDNN": backends.cudnn.allow_tf32,
        "deterministic": backends.cudnn.deterministic,
    }


@pytest.fixture(params=["torch's own", "a person's"])
def before(request: pytest.FixtureRequest) -> Any:
    """The state that is to come back; a person's differs from regulab's in every setting."""
    own = state()
    if request.param == "a person's":
        torch.set_num_threads(own["threads"] + 2)
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.deterministic = False
    yield state()
    torch.set_float32_matmul_precision(own["products"])
    torch.backends.cudnn.allow_tf32 = own["cuDNN"]
    torch.backends.cudnn.deterministic = own["deterministic"]
    torch.set_num_threads(own["threads"])


@pytest.fixture(autouse=True)
def malloc(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What glibc is told of the largest number of mapped blocks: 0 while freed memory is kept."""
    told: list[int] = []
    monkeypatch.setattr(machine, "_set_malloc", lambda trim_threshold, mmap_max: told.append(mmap_max))
    monkeypatch.setattr(regulab.study, "write_report", lambda records, directory: None)
    return told


class Looks(Silent):
    """Notes the state while a study trains, and may stop it."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error, self.states = error, list[dict[str, Any]]()

    def epoch(self, records: Any) -> None:
        self.states.append(state())
        if self.error is not None:
            raise self.error


def test_a_study_gives_all_back(before, malloc, tmp_path):
    looks = Looks()
    regulab.study.run(STUDY, tmp_path / "run", data_root=tmp_path, progress=looks)
    (inside,) = looks.states
    assert inside == {
        "threads": min(before["threads"], cores()),
        "products": "highest",
        "cuBLAS": False,
        "cuDNN": False,
        "deterministic": True,
    }
    assert state() == before
    assert malloc == [0, 2**16], "told once for all fleets, and once at the end"


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), ValueError("a listener's own"), SystemExit(3)], ids=repr
)
def test_and_so_does_one_that_is_stopped(before, malloc, tmp_path, error):
    with pytest.raises(type(error)):
        regulab.study.run(STUDY, tmp_path / "run", data_root=tmp_path, progress=Looks(error))
    assert state() == before
    assert malloc == [0, 2**16]


def test_and_so_does_one_that_is_refused(before, malloc, tmp_path):
    lost = STUDY.model_copy(update={"data": STUDY.data.model_copy(update={"name": "mnist"})})
    with pytest.raises(UserError):
        regulab.study.run(lost, tmp_path / "run", data_root=tmp_path)
    assert state() == before
    assert malloc == [0, 2**16]


def test_and_so_does_a_dry_run(before, malloc):
    dry_run.plan(STUDY, data_root=Path("nowhere"))
    assert state() == before
    assert malloc == [0, 2**16]


def test_nested_the_outer_settings_hold_until_the_outer_end(before, malloc):
    with process_settings():
        outer = state()
        with process_settings(threads=before["threads"] + 1):
            assert state() == {**outer, "threads": before["threads"] + 1}
        assert state() == outer
        with pytest.raises(ZeroDivisionError), process_settings(threads=before["threads"] + 1):
            raise ZeroDivisionError
        assert state() == outer
        assert malloc == [0]
    assert state() == before
    assert malloc == [0, 2**16]


def test_choosing_a_machine_changes_nothing(before, malloc):
    choose_machine("cpu", "auto")
    assert state() == before
    assert malloc == []


def test_settings_in_torchs_newer_words_come_back_too(malloc):
    """Once a person used them torch refuses to read the older ones, which regulab sets."""
    matmul: Any = torch.backends.cuda.matmul
    if not hasattr(matmul, "fp32_precision"):
        pytest.skip("a torch before 2.9")
    own = matmul.fp32_precision
    try:
        matmul.fp32_precision = "tf32"
        with pytest.raises(RuntimeError):
            state()
        with process_settings():
            assert not matmul.allow_tf32
        assert matmul.fp32_precision == "tf32"
    finally:
        torch.set_float32_matmul_precision("highest")
        matmul.fp32_precision = own
