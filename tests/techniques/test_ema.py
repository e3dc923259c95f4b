"""EMA against torch's AveragedModel, from its start; across interruptions; and what is recorded of it."""

from __future__ import annotations

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from tests.techniques.by_hand import assert_trains_to, by_hand, ordinary, setup_with
from tests.training.setups import FLOAT64, runs_of, setup_of, study_of

STEPS = 3  # of an epoch


@pytest.mark.parametrize("start", [1, 2])
def test_it_is_torchs_averaged_model_with_its_buffers(start):
    setup, run = setup_with({"ema": {"decay": 0.7, "start": start}})
    averaged: list[AveragedModel] = []
    steps = [0]

    def step(module, optimizer, x, labels):
        ordinary(module, optimizer, x, labels)
        steps[0] += 1
        if steps[0] > (start - 1) * STEPS:
            averaged[:] = averaged or [
                AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.7), use_buffers=True)
            ]
            averaged[0].update_parameters(module)

    by_hand(setup, run, step)
    assert_trains_to(setup, run, averaged[0].module)


def test_before_its_start_it_is_the_weights_themselves():
    setup, run = setup_with({"ema": {"decay": 0.9, "start": 2}})
    without, bare = setup_with({})
    for trainer in (Fleet, PlainTrainer):
        ours, theirs = trainer(setup, [run]), trainer(without, [bare])
        ours.train_epoch(1)
        theirs.train_epoch(1)
        for name, value in theirs.weights().items():
            assert torch.equal(ours.weights()[name], value), name


@pytest.mark.parametrize("trainer", [Fleet, PlainTrainer])
def test_what_is_evaluated_is_what_is_saved(trainer):
    """A fresh trainer with the saved weights has the logits of the one that trained; training goes on from w."""
    setup, run = setup_with({"ema": 0.8})
    one, other = trainer(setup, [run]), trainer(setup, [run])
    one.train_epoch(1)
    other.load_weights(one.weights())
    x = torch.rand(7, 1, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(one.logits(x), other.logits(x))
        trained = {name: value for name, value in one.state().items() if not name.startswith("technique.")}
    ordinary_run = setup_with({})
    plain = trainer(ordinary_run[0], [ordinary_run[1]])
    plain.train_epoch(1)
    for name, value in plain.state().items():
        assert torch.equal(trained[name], value), name


def test_averages_leave_with_their_runs():
    study = study_of({"none": {}, "ema": {"ema": 0.8}, "late": {"ema": {"decay": 0.5, "start": 2}}}, seeds=2)
    setup, runs = setup_of(study, 60, machine=FLOAT64), runs_of(study)
    whole, parted = Fleet(setup, runs), Fleet(setup, runs)
    for fleet in (whole, parted):
        fleet.train_epoch(1)
    staying = [0, 2, 4]
    parted.select(staying)
    for fleet in (whole, parted):
        fleet.train_epoch(2)
    for name, value in parted.weights().items():
        torch.testing.assert_close(value, whole.weights()[name][staying])
    parted.select([0])  # none of those that remain has a memory
    assert not any(name.startswith("technique.") for name in parted.state())
    parted.train_epoch(3)
