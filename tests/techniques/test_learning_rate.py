"""An arm with a rate of its own trains as a study with that rate would, and moves no neighbour."""

from __future__ import annotations

import pytest
import torch

from regulab.errors import UserError
from regulab.techniques import parse
from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from tests.training.setups import FLOAT64, ON_DEVICE, runs_of, setup_of, study_of

OWN = 0.037
DECAY = {"weight_decay": {"strength": 0.3, "form": "corrected"}}
SCHEDULES = (
    {"name": "one_cycle"},
    {"name": "reduce_on_plateau", "patience": 1, "factor": 0.5, "min_lr": 0.02},
    {"name": "constant"},
)


def study_at(lr, schedule, arms):
    train = {"optimizer": {"name": "sgd", "lr": lr}, "schedule": schedule, "batch_size": 20, "epochs": 3}
    return study_of(arms, train=train, model={"dropout": 0.1}, seeds=1)


def trained(trainer, position=0):
    rates = []
    for epoch, losses in enumerate(([], [0.3], [0.3, 0.4]), start=1):
        rates.append(trainer.train_epoch(epoch, [losses] * len(trainer.runs)).lr[position])
    return {name: value[position] for name, value in trainer.weights().items()}, rates


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda one: one["name"])
@pytest.mark.parametrize("machine", [FLOAT64, ON_DEVICE], ids=["host", "device"])
def test_as_a_study_with_that_rate_and_beside_others_in_one_fleet(schedule, machine):
    arms = {"none": {}, "own": {"learning_rate": OWN, **DECAY}, "decay": DECAY}
    mixed, alone = study_at(0.1, schedule, arms), study_at(OWN, schedule, {"decay": DECAY})
    fleet = Fleet(setup_of(mixed, 60, machine), runs_of(mixed))
    together, rates = trained(fleet, position=1)
    expected, expected_rates = trained(Fleet(setup_of(alone, 60, machine), runs_of(alone)))
    plain, plain_rates = trained(PlainTrainer(setup_of(mixed, 60, machine), runs_of(mixed)[1:2]))
    assert rates == pytest.approx(expected_rates, rel=1e-15)
    assert plain_rates == pytest.approx(expected_rates, rel=1e-15)
    for name, value in expected.items():
        torch.testing.assert_close(together[name], value, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(plain[name], value, rtol=1e-9, atol=1e-11)


def test_neighbours_have_the_studys_rate():
    arms = {"none": {}, "l1": {"l1": 1e-3}}
    beside = {**arms, "own": {"learning_rate": OWN}}
    without, among = (study_at(0.1, {"name": "one_cycle"}, found) for found in (arms, beside))
    expected, rates = trained(Fleet(setup_of(without, 60, FLOAT64), runs_of(without)), position=1)
    found, found_rates = trained(Fleet(setup_of(among, 60, FLOAT64), runs_of(among)), position=1)
    assert found_rates == rates
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-11)


def test_the_rate_stays_with_its_run_when_others_leave():
    study = study_at(0.1, {"name": "constant"}, {"none": {}, "own": {"learning_rate": OWN}})
    fleet = Fleet(setup_of(study, 60, FLOAT64), runs_of(study))
    fleet.train_epoch(1)
    fleet.select([1])
    assert list(fleet.train_epoch(2).lr) == [OWN]


@pytest.mark.parametrize("rate", [0, -0.1, "fast"])
def test_a_rate_is_above_0(rate):
    with pytest.raises(UserError, match="learning_rate"):
        parse("learning_rate", rate, "arms.own")
