"""The fleet gives, run by run, what the plain loop gives, whichever arms train beside."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from regulab.training.evaluate import evaluate
from regulab.training.fleet import Fleet
from regulab.training.kernels.fusing import FusedSequential
from regulab.training.plain import PlainTrainer
from tests.training.setups import (
    FLOAT32,
    FLOAT64,
    FUSED,
    NOTEBOOK_NET,
    ON_DEVICE,
    runs_of,
    setup_of,
    study_of,
    validation_of,
)

ARMS: dict[str, dict[str, Any]] = {
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


EVERYTHING = {
    **ARMS,
    "leaver": {"l2": 1e-3, "early_stopping": 1},
}


def trained(machine, optimizer, **model):
    """Three seeds of everything, as a fleet and as plain loops: two epochs of four steps, the leavers only one.

    Returns the runs, the plain loops, each run's weights in the fleet when it ended, and the fleet with its setup.
    """
    schedule, limit = SCHEDULES[optimizer["name"]], float(torch.finfo(machine.parameters).max)
    arms = {**EVERYTHING, "broken": {"weight_decay": {"strength": min(1e300, limit / 10), "include": "all"}}}
    study = study_of(
        arms, train={"optimizer": optimizer, "schedule": schedule}, model={"dropout": 0.1, **model}
    )
    setup, runs = setup_of(study, machine=machine), runs_of(study)
    fleet, plains = Fleet(setup, runs), [PlainTrainer(setup, [run]) for run in runs]
    active, ended = list(range(len(runs))), {}
    for epoch in (1, 2):
        together = fleet.train_epoch(epoch)
        alone = [plains[position].train_epoch(epoch) for position in active]
        losses = torch.cat([a.loss for a in alone])
        torch.testing.assert_close(together.loss, losses, rtol=1e-4, atol=1e-5, equal_nan=True)
        assert losses.isfinite().tolist() == [runs[position].arm != "broken" for position in active]
        assert list(together.orders) == [a.orders[0] for a in alone]
        rates = [a.lr[0] for a, loss in zip(alone, losses, strict=True) if loss.isfinite()]
        assert set(together.lr) == set(rates), (
            "a run that breaks alone has the rate of the step in which it broke"
        )
        for row, position in enumerate(active):
            ended[position] = {name: value[row].clone() for name, value in fleet.weights().items()}
        staying = [row for row, position in enumerate(active) if runs[position].arm != "leaver"]
        fleet.select(staying)
        active = [active[row] for row in staying]
    return runs, plains, ended, (fleet, active, setup)


def differences(plains, ended):
    """For every run, parameter and buffer |fleet − plain loop| ÷ max(1, |plain loop|), flat; 0 where both are NaN."""
    found = {}
    for position, plain in enumerate(plains):
        for name, value in plain.weights().items():
            ours, theirs = ended[position][name], value[0]
            same = (ours == theirs) | (ours.isnan() & theirs.isnan())
            relative = (ours - theirs).abs() / theirs.abs().clamp(min=1)
            found[position, name] = torch.where(same, 0.0, relative).flatten()
    return found


@pytest.mark.parametrize("machine", [FLOAT64, ON_DEVICE], ids=["host", "resident"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_every_run_equals_the_plain_loop(optimizer, machine):
    """In float64, where a difference is a difference of the mathematics: parameters, buffers, penalties, evaluation."""
    runs, plains, ended, (fleet, active, setup) = trained(machine, optimizer)
    for (position, name), difference in differences(plains, ended).items():
        assert difference.max() < 1e-9, f"{runs[position].arm}, {name}"
    validation = validation_of(setup.study)
    losses, predicted, confidence = evaluate(fleet, validation, setup.preprocessing)
    penalties = fleet.penalties()
    for row, position in enumerate(active):
        if runs[position].arm != "broken":
            loss, plain_predicted, plain_confidence = evaluate(
                plains[position], validation, setup.preprocessing
            )
            torch.testing.assert_close(losses[row], loss[0])
            assert torch.equal(predicted[:, row], plain_predicted[:, 0])
            torch.testing.assert_close(confidence[:, row], plain_confidence[:, 0])
            torch.testing.assert_close(penalties[row].double(), plains[position].penalties()[0].double())


@pytest.mark.parametrize("machine", [FLOAT32, FUSED], ids=["layers", "kernels"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS[:3], ids=str)
def test_every_run_equals_the_plain_loop_to_rounding_in_float32(optimizer, machine):
    _, plains, ended, _ = trained(machine, optimizer)
    assert_equal_to_rounding(plains, ended)


def assert_equal_to_rounding(plains, ended):
    """Rounding may push an activation over the kink of a ReLU, which visibly moves a few weights; the rest agree."""
    found = differences(plains, ended)
    for difference in found.values():
        assert difference.max() < 2e-3
    everything = torch.cat(list(found.values()))
    assert everything.median() < 1e-7
    assert everything.quantile(0.9) < 1e-5


@pytest.mark.parametrize("machine", [FLOAT32, FUSED], ids=["layers", "kernels"])
def test_a_net_of_torchs_own_layers_equals_the_plain_loop_too(machine):
    _, plains, ended, (fleet, *_) = trained(machine, OPTIMIZERS[1], name=NOTEBOOK_NET)
    assert isinstance(fleet._stack.features, FusedSequential) == machine.kernels
    assert_equal_to_rounding(plains, ended)


def test_arms_differ_where_their_techniques_do():
    study = study_of(ARMS, model={"dropout": 0.1})
    fleet = Fleet(setup_of(study), runs_of(study))
    fleet.train_epoch(1)
    weights = fleet.weights()["blocks.1.conv.weight"][: len(ARMS)].flatten(1)
    distances = torch.cdist(weights, weights) + torch.eye(len(ARMS))
    assert distances.min() > 1e-4


@pytest.mark.parametrize(
    "model",
    [
        {},
        {"name": "resnet20", "depth": 8, "args": {"width": 3}},
        {"name": "mlp"},
        {"name": NOTEBOOK_NET},
    ],
    ids=["cnn10k", "resnet20", "mlp", "notebook"],
)
def test_those_that_stay_do_not_notice_who_left(model):
    arms = {"none": {}, "l1": {"l1": 1e-3}, "l2": {"l2": 1e-2, "augmentation": 15}}
    study = study_of(arms, model={"dropout": 0.1, **model})
    setup, runs = setup_of(study, machine=FLOAT64), runs_of(study)
    whole, parted = Fleet(setup, runs), Fleet(setup, runs)
    staying = [0, 2, 4, 7, 8]
    for fleet in (whole, parted):
        fleet.train_epoch(1)
    parted.select(staying)
    for fleet in (whole, parted):
        fleet.train_epoch(2)
    for name, value in parted.weights().items():
        torch.testing.assert_close(value, whole.weights()[name][staying])


@pytest.mark.parametrize("trainer", [Fleet, PlainTrainer])
@pytest.mark.parametrize("optimizer", OPTIMIZERS[1:], ids=str)
def test_training_goes_on_from_its_state_to_the_bit(trainer, optimizer):
    study = study_of({"l1": {"l1": 1e-3, "dropout": 0.2}}, train={"optimizer": optimizer}, seeds=1)
    setup, runs = setup_of(study), runs_of(study)
    straight, first, second = (trainer(setup, runs) for _ in range(3))
    straight.train_epoch(1)
    straight.train_epoch(2)
    first.train_epoch(1)
    second.load_state({name: tensor.clone() for name, tensor in first.state().items()})
    second.train_epoch(2)
    for name, value in straight.state().items():
        assert torch.equal(value, second.state()[name]), name


def test_the_same_fleet_twice_is_the_same_to_the_bit():
    study = study_of(ARMS, model={"dropout": 0.1})
    fleets = [Fleet(setup_of(study), runs_of(study)) for _ in range(2)]
    for fleet in fleets:
        fleet.train_epoch(1)
    one, two = (fleet.state() for fleet in fleets)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_runs_of_a_seed_start_alike_and_seeds_differ():
    study = study_of({"none": {}, "l1": {"l1": 1e-3}})
    weights = Fleet(setup_of(study), runs_of(study)).weights()
    for name in ("blocks.0.conv.weight", "classify.bias"):
        assert torch.equal(weights[name][0], weights[name][1])
        assert not torch.equal(weights[name][0], weights[name][2])
