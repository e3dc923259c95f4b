"""The fleet gives, run by run, what the plain loop gives, whichever arms sail beside."""

from __future__ import annotations

import pytest
import torch

from regulab.training.crew import evaluate
from regulab.training.fleet import Fleet
from regulab.training.plain import PlainRun
from tests.training.material import FLOAT32, FLOAT64, material_of, runs_of, study_of, validation_of

ARMS = {
    "none": {},
    "l1": {"l1": 3e-3},
    "l1 subgradient, everywhere": {"l1": {"strength": 2e-3, "method": "subgradient", "include": "all"}},
    "l2": {"l2": 1e-2, "dropout": 0.3},
    "decayed": {"weight_decay": 1e-2, "dropout": 0},
    "augmented": {
        "augmentation": {"rotate": 20, "translate": 1},
        "l1": 1e-3,
        "l2": {"strength": 1e-3, "include": "all"},
    },
}
OPTIMIZERS = [
    {"name": "sgd", "momentum": 0},
    {"name": "sgd", "momentum": 0.9},
    {"name": "sgd", "momentum": 0.9, "nesterov": True},
    {"name": "adam", "lr": 3e-3},
]
SCHEDULES = {"sgd": {"name": "cosine", "warmup": 0.5}, "adam": {"name": "step", "every": 1, "factor": 0.5}}


def trained(machine, optimizer, epochs=2):
    """A fleet of three seeds and its plain loops, trained alike: (runs, fleet, plain loops, material)."""
    schedule = SCHEDULES[optimizer["name"]]
    study = study_of(ARMS, train={"optimizer": optimizer, "schedule": schedule}, model={"dropout": 0.1})
    material, runs = material_of(study, machine=machine), runs_of(study)
    fleet, plains = Fleet(material, runs), [PlainRun(material, [run]) for run in runs]
    for epoch in range(1, epochs + 1):  # of four steps
        together = fleet.train_epoch(epoch)
        alone = [plain.train_epoch(epoch) for plain in plains]
        torch.testing.assert_close(together.loss, torch.cat([a.loss for a in alone]), rtol=1e-4, atol=1e-5)
        assert list(together.orders) == [a.orders[0] for a in alone]
        assert together.lr == alone[0].lr
    return runs, fleet, plains, material


def differences(fleet, plains):
    """For every run and parameter or buffer: |fleet − plain loop|, flat."""
    weights = fleet.weights()
    return {
        (position, name): (weights[name][position] - value[0]).abs().flatten()
        for position, plain in enumerate(plains)
        for name, value in plain.weights().items()
    }


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_every_run_equals_the_plain_loop(optimizer):
    """In float64, where a difference is a difference of the mathematics: parameters, buffers, penalties, evaluation."""
    runs, fleet, plains, material = trained(FLOAT64, optimizer)
    for (position, name), difference in differences(fleet, plains).items():
        assert difference.max() < 1e-9, f"{runs[position].arm}, {name}"
    torch.testing.assert_close(fleet.penalties(), torch.cat([p.penalties() for p in plains]).double())
    validation = validation_of(material.study)
    got = evaluate(fleet, validation, material.preprocessing)
    want = [evaluate(plain, validation, material.preprocessing) for plain in plains]
    torch.testing.assert_close(got[0], torch.cat([w[0] for w in want]))
    assert torch.equal(got[1], torch.cat([w[1] for w in want], 1))
    torch.testing.assert_close(got[2], torch.cat([w[2] for w in want], 1))


@pytest.mark.parametrize("optimizer", OPTIMIZERS[:3], ids=str)
def test_every_run_equals_the_plain_loop_to_rounding_in_float32(optimizer):
    """Rounding may push an activation over the kink of a ReLU, which visibly moves a few weights; the rest agree."""
    _, fleet, plains, _ = trained(FLOAT32, optimizer)
    for difference in differences(fleet, plains).values():
        assert difference.max() < 2e-3
    everything = torch.cat(list(differences(fleet, plains).values()))
    assert everything.median() < 1e-7
    assert (everything > 1e-5).double().mean() < 0.03


def test_arms_differ_where_their_techniques_do():
    study = study_of(ARMS, model={"dropout": 0.1})
    fleet = Fleet(material_of(study), runs_of(study))
    fleet.train_epoch(1)
    weights = fleet.weights()["blocks.1.conv.weight"][: len(ARMS)].flatten(1)
    distances = torch.cdist(weights, weights) + torch.eye(len(ARMS))
    assert distances.min() > 1e-4


def test_a_diverged_run_stays_alone_with_its_trouble():
    """The others equal their plain loops, and the broken one stands still where its plain loop does."""
    arms = {"none": {}, "broken": {"l2": 1e200}, "l1": {"l1": 1e-3}}
    study = study_of(arms, train={"schedule": {"name": "constant"}})
    material, runs = material_of(study, machine=FLOAT64), runs_of(study)
    fleet, plains = Fleet(material, runs), [PlainRun(material, [run]) for run in runs]
    for epoch in (1, 2):
        totals = fleet.train_epoch(epoch)
        for plain in plains:
            plain.train_epoch(epoch)
    assert totals.loss.isfinite().tolist() == [run.arm != "broken" for run in runs]
    for (position, name), difference in differences(fleet, plains).items():
        if runs[position].arm != "broken":
            assert difference.max() < 1e-9, name
        else:
            torch.testing.assert_close(
                fleet.weights()[name][position], plains[position].weights()[name][0], equal_nan=True
            )


def test_those_that_stay_do_not_notice_who_left():
    study = study_of({"none": {}, "l1": {"l1": 1e-3}, "l2": {"l2": 1e-2, "augmentation": 15}})
    material, runs = material_of(study, machine=FLOAT64), runs_of(study)
    whole, parted = Fleet(material, runs), Fleet(material, runs)
    staying = [0, 2, 4, 7, 8]
    for fleet in (whole, parted):
        fleet.train_epoch(1)
    parted.keep(staying)
    for fleet in (whole, parted):
        fleet.train_epoch(2)
    for name, value in parted.weights().items():
        torch.testing.assert_close(value, whole.weights()[name][staying])


@pytest.mark.parametrize("crew", [Fleet, PlainRun])
@pytest.mark.parametrize("optimizer", OPTIMIZERS[1:], ids=str)
def test_training_goes_on_from_its_state_to_the_bit(crew, optimizer):
    study = study_of({"l1": {"l1": 1e-3, "dropout": 0.2}}, train={"optimizer": optimizer}, seeds=1)
    material, runs = material_of(study), runs_of(study)
    straight, first, second = (crew(material, runs) for _ in range(3))
    straight.train_epoch(1)
    straight.train_epoch(2)
    first.train_epoch(1)
    second.load_state({name: tensor.clone() for name, tensor in first.state().items()})
    second.train_epoch(2)
    for name, value in straight.state().items():
        assert torch.equal(value, second.state()[name]), name


def test_the_same_fleet_twice_is_the_same_to_the_bit():
    study = study_of(ARMS, model={"dropout": 0.1})
    fleets = [Fleet(material_of(study), runs_of(study)) for _ in range(2)]
    for fleet in fleets:
        fleet.train_epoch(1)
    one, two = (fleet.state() for fleet in fleets)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_runs_of_a_seed_start_alike_and_seeds_differ():
    study = study_of({"none": {}, "l1": {"l1": 1e-3}})
    weights = Fleet(material_of(study), runs_of(study)).weights()
    for name in ("blocks.0.conv.weight", "classify.bias"):
        assert torch.equal(weights[name][0], weights[name][1])
        assert not torch.equal(weights[name][0], weights[name][2])
