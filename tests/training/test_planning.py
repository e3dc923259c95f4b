from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from regulab.training import machine as machines
from regulab.training import planning
from regulab.training.checks import bytes_per_image
from regulab.training.machine import choose_machine, training_threads
from regulab.training.planning import FleetPlan, plan_fleets, remarks
from tests.training.setups import FLOAT32, setup_of, study_of

ARMS = {"none": {}, "l1": {"l1": 1e-3}, "l2": {"l2": 1e-2}}


def planned(memory: int, seeds: int = 2):
    study = study_of(ARMS, seeds=seeds)
    setup = setup_of(study, machine=replace(FLOAT32, memory=memory))
    return plan_fleets(setup, study.seeds)


def test_a_seeds_arms_sail_apart_where_memory_ends_and_it_is_said():
    study = study_of(ARMS)
    setup = setup_of(study)
    one_run = 37 * bytes_per_image(setup, setup.examples()[0])  # batches of 37
    fleets = planned(2 * one_run + 1)
    assert [len(fleet.runs) for fleet in fleets] == [2, 1, 2, 1]
    assert remarks(fleets) == ["fleets are split: memory, 2 of a seed's 3 runs of one architecture at a time"]
    assert [run for fleet in fleets for run in fleet.runs] == [(a, s) for s in range(2) for a in ARMS]


def test_arms_that_do_not_fit_together_are_split_evenly():
    arms = {f"l2 {k}": {"l2": 10.0**-k} for k in range(1, 7)}
    study = study_of(arms, seeds=1)
    setup = setup_of(study)
    memory = 5 * 37 * bytes_per_image(setup, setup.examples()[0]) + 1
    fleets = plan_fleets(setup_of(study, machine=replace(FLOAT32, memory=memory)), study.seeds)
    assert [len(fleet.runs) for fleet in fleets] == [3, 3]


class CallsAll(nn.Module):
    conv: nn.Module

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 10)

    def forward(self, x):
        return self.fc(self.norm(self.conv(x)).relu().mean((2, 3)))


class InASequence(CallsAll):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(self.conv, nn.Identity())


def test_code_that_calls_convolutions_itself_is_followed_where_there_are_kernels():
    assert planning._calls_convolutions(CallsAll())
    assert not planning._calls_convolutions(InASequence())
    assert not planning._calls_convolutions(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)))
    study = study_of(ARMS)
    for kernels, engine in ((False, "fleet"), (choose_machine("cpu", "fp32").kernels, None)):
        setup = setup_of(study, machine=replace(FLOAT32, kernels=kernels))
        torch.manual_seed(0)
        found, _ = planning.choose_engine(setup, [CallsAll() for _ in range(3)])
        assert found == (engine or ("followed" if kernels else "fleet"))


def test_a_plan_keeps_whose_draws_it_began_with():
    study = study_of(ARMS)
    setup = setup_of(study, machine=replace(FLOAT32, on_device=True))
    (fleet,) = plan_fleets(setup, study.seeds)
    assert FleetPlan.of_json(fleet.to_json()) == fleet
    assert choose_machine("cpu", fleet.precision, fleet.kernels, fleet.on_device).on_device
    assert not choose_machine("cpu", "auto").on_device


def test_with_memory_enough_there_is_nothing_to_say():
    (fleet,) = planned(2**32)
    assert len(fleet.runs) == 6
    assert remarks([fleet]) == []


def test_more_threads_than_cores_are_not_used_and_it_is_said(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(machines, "cores", lambda: 2)
    try:
        torch.set_num_threads(5)
        assert training_threads() == 2
        assert any("5 threads" in note and "2 cores" in note for note in choose_machine("cpu", "fp32").notes)
        torch.set_num_threads(1)
        assert training_threads() == 1
        assert not any("threads asked for" in note for note in choose_machine("cpu", "fp32").notes)
    finally:
        torch.set_num_threads(before)


def test_threads_asked_for_in_the_environment_are_seen_too(monkeypatch):
    monkeypatch.setattr(machines, "cores", lambda: 2)
    for wanted, noted in (("64", True), ("1", False), ("4,2", False), ("", False)):
        monkeypatch.setenv("OMP_NUM_THREADS", wanted)
        with machines.process_settings(threads=1):
            assert (
                any(f"{wanted} threads asked" in note for note in choose_machine("cpu", "fp32").notes)
                == noted
            )


def test_bf16_without_native_support_trains_and_says_so(monkeypatch):
    monkeypatch.setattr(machines, "native_bf16", lambda device: False)
    machine = choose_machine("cpu", "bf16")
    assert machine.precision == "bf16"
    assert "without native support" in machine.notes[0]
    assert choose_machine("cpu", "auto").precision == "fp32"


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16"])
def test_fp32_means_fp32(precision):
    machine = choose_machine("cpu", precision)
    assert machine.parameters == torch.float32
    assert machine.precision == {"fp32": "fp32", "bf16": "bf16"}.get(precision, machine.precision)


@pytest.mark.parametrize(("limit", "engine"), [(1e9, "fleet"), (10.0, "plain")])
def test_where_weights_outweigh_a_batch_a_processor_trains_runs_one_by_one_and_says_so(
    monkeypatch, limit, engine
):
    monkeypatch.setattr(planning, "PARAMETERS_PER_IMAGE", limit)
    (first, *_) = planned(2**32)
    assert first.engine == engine
    assert ("train faster so in batches of 37" in first.reason) == (engine == "plain")
