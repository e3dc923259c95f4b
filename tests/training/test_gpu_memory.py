"""Fleets of a GPU: as many runs as its memory and its speed allow; and what is said where there is no room."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from regulab.errors import UserError
from regulab.launchers import events
from regulab.launchers.events import carried_out
from regulab.training import batches, machine, planning
from regulab.training import setup as setting_up
from regulab.training.checks import bytes_per_image
from regulab.training.kernels import choice
from regulab.training.loop import Job
from regulab.training.machine import MOST_ACTIVATIONS, choose_machine
from regulab.training.no_room import room_needed
from regulab.training.planning import PIXELS_PER_STEP_ON_DEVICE, plan_fleets, runs_per_fleet
from tests.training.setups import runs_of, setup_of, study_of

ARMS = {"none": {}, "l1": {"l1": 1e-4}, "l2": {"l2": 1e-4}, "both": {"l1": 1e-4, "l2": 1e-4}}
GPUS = {"T4": 15 * 2**30, "H100": 79 * 2**30, "H200": 139 * 2**30}


def gpu_with(monkeypatch, memory):
    monkeypatch.setattr(machine, "_device", lambda _: torch.device("cuda", 0))
    monkeypatch.setattr(machine, "_memory", lambda _: memory)
    monkeypatch.setattr(machine, "missing", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (8, 0))
    return choose_machine("cuda", "auto")


@pytest.mark.parametrize("name", GPUS)
def test_a_fleet_takes_a_quarter_of_a_gpus_memory_at_most(monkeypatch, name):
    study = study_of(ARMS, seeds=2, train={"batch_size": 128, "precision": "auto"})
    setup = setup_of(study, images=256)
    memory = gpu_with(monkeypatch, GPUS[name]).memory
    assert memory == GPUS[name] // 4
    assert setup.machine.memory <= MOST_ACTIVATIONS
    on_gpu = replace(setup, machine=replace(setup.machine, on_device=True, memory=memory))
    runs = runs_per_fleet(on_gpu, runs_of(study)[0], 4)
    each = 128 * bytes_per_image(on_gpu, runs_of(study)[0])
    assert runs * each <= memory
    assert runs == min(PIXELS_PER_STEP_ON_DEVICE // (4 * 128 * 64) * 4, memory // each)


def test_512_runs_of_mnist_are_one_fleet_and_a_small_gpu_splits_them(monkeypatch):
    """cnn10k's layers give 46,266 numbers for an image of 28×28."""
    study = study_of(ARMS, seeds=2, train={"batch_size": 128})
    setup = setup_of(study, images=256)
    monkeypatch.setattr(planning, "bytes_per_image", lambda *_: 46_266 * 2 * 2)
    monkeypatch.setattr(type(setup.images), "shape", property(lambda _: (28, 28, 1)))
    found = []
    for memory in GPUS.values():
        own = replace(setup, machine=replace(setup.machine, on_device=True, memory=memory // 4))
        found.append(runs_per_fleet(own, runs_of(study)[0], 4))
    assert found[1:] == [512, 512]
    assert 128 <= found[0] < 512


SAID_WITHOUT_ROOM = (
    "CUDA error: out of memory\nCUDA kernel errors might be reported later",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
)


@pytest.mark.parametrize("said", SAID_WITHOUT_ROOM)
def test_a_library_that_finds_no_room_is_told_of_likewise(said, monkeypatch):
    def full(_):
        raise RuntimeError("there is not even room to ask")

    monkeypatch.setattr(torch.cuda, "mem_get_info", full)
    with pytest.raises(UserError) as caught, room_needed(torch.device("cuda", 0), "a fleet of 1 run"):
        raise RuntimeError(said)
    assert "no room on cuda:0 for a fleet of 1 run" in str(caught.value)
    assert said.splitlines()[0] in str(caught.value)


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("out of memory")], ids=repr)
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error), match=str(error)), room_needed(torch.device("cuda", 0), "a fleet"):
        raise error


def test_a_full_gpu_is_not_taken_for_one_that_is_absent(monkeypatch):
    def full(*_, **__):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch, "ones", full)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (0, 2**30))
    with pytest.raises(UserError, match="no room on cuda:0 for anything"):
        choose_machine("cuda:0", "fp32", kernels=False)


def test_a_full_gpu_does_not_choose_torchs_layers(monkeypatch):
    """Whether kernels are used must not follow from what else is in memory."""
    pytest.importorskip("triton", reason="Triton is not installed (it is for Linux alone)")
    from regulab.training.kernels import gpu_check

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(gpu_check, "difference", full)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (0, 2**30))
    with pytest.raises(UserError, match="no room on cuda:7"):
        choice.missing(torch.device("cuda", 7), torch.float32)


def test_a_full_gpu_is_told_of_before_anything_trains(monkeypatch):
    study = study_of(ARMS, seeds=1)
    splits = setup_of(study).splits

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (0, 2**30))
    monkeypatch.setattr(setting_up, "check_model", full)
    with pytest.raises(UserError, match="for a look at the network"):
        setting_up.set_up(study, splits)
    monkeypatch.setattr(batches.ImageTensors, "of", full)
    with pytest.raises(UserError, match="training images"):
        setting_up.set_up(study, splits)


def test_a_gpu_without_room_is_told_of_with_a_cure(monkeypatch):
    study = study_of(ARMS, seeds=1)
    setup = setup_of(study)
    (plan,) = plan_fleets(setup, [0])

    def full(_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")
        yield

    monkeypatch.setattr(events, "train_fleet", full)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2**30, 15 * 2**30))
    with pytest.raises(UserError) as caught:
        list(carried_out(Job(plan, setup)))
    said = str(caught.value)
    assert "no room on cpu for a fleet of 4 runs" in said
    assert "1.0 GiB free of 15.0" in said
    assert "train.batch_size" in said
    assert "Tried to allocate 2.00 GiB." in said
    assert "more" not in said.splitlines()[-1][-6:]
