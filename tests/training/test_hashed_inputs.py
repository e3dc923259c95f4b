"""Orders and draws that a device makes: numpy's of the same keys, and the same for fleet and plain loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from regulab.models.hashed_draws import FIRST, SECOND, WEYL, first_outputs
from regulab.streams import Streams
from regulab.training import hashed_inputs
from regulab.training.batches import Batches
from regulab.training.fleet import Fleet
from regulab.training.hashed_inputs import OrderHashes, hashed_orders, hashed_uniform, order_digest
from regulab.training.machine import Machine, choose_machine
from regulab.training.plain import PlainTrainer
from regulab.training.planning import FleetPlan, machine_of, plan_fleets
from regulab.training.trainer import input_plan
from tests.training.setups import FLOAT64, ON_DEVICE, runs_of, setup_of, study_of

SEEDS = [Streams("hashed", 0), Streams("hashed", 5)]
HASHED = replace(ON_DEVICE, hashed_inputs=True)
ARMS = {"turned": {"augmentation": {"rotate": 9}}, "mixed": {"mixup": 0.4, "l2": 1e-3}}


def hashes(key, count):
    """SplitMix64 in numpy's unsigned numbers."""
    with np.errstate(over="ignore"):
        z = np.uint64(key) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(WEYL)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(FIRST)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(SECOND)
        return z ^ (z >> np.uint64(31))


def key_of(seed, purpose, name, epoch):
    return seed.generator(purpose, name, epoch=epoch).bit_generator.random_raw()


@pytest.mark.parametrize("at_once", [2**24, 500])
def test_orders_and_draws_are_numpys_of_the_same_keys(at_once, monkeypatch):
    monkeypatch.setattr(hashed_inputs, "AT_ONCE", at_once)
    orders = hashed_orders(first_outputs(SEEDS, "order", "", 3), 400).numpy()
    draws = hashed_uniform(first_outputs(SEEDS, "augmentation", "noise", 3), 400, 3).numpy()
    for s, seed in enumerate(SEEDS):
        want = np.argsort(hashes(key_of(seed, "order", "", 3), 400).view(np.int64), kind="stable")
        assert np.array_equal(orders[s], want)
        upper = hashes(key_of(seed, "augmentation", "noise", 3), 1200) >> np.uint64(40)
        assert np.array_equal(draws[s], (upper / 2**24).astype(np.float32).reshape(400, 3))


def test_every_image_comes_once_everywhere_and_draws_are_uniform():
    orders = hashed_orders(first_outputs([Streams("u", s) for s in range(200)], "order"), 50)
    assert (orders.sort(1).values == torch.arange(50)).all()
    # Where image 0 stands: 200 seeds over 50 places, of mean 24.5 and deviation 14.4, whose mean has 1.02.
    assert abs((orders == 0).int().argmax(1).double().mean() - 24.5) < 4
    draws = hashed_uniform(first_outputs(SEEDS, "augmentation"), 20_000, 2)
    assert draws.dtype == torch.float32
    assert draws.min() >= 0
    assert draws.max() < 1
    assert (draws.double().mean((0, 1)) - 0.5).abs().max() < 4 / (12 * 40_000) ** 0.5
    assert (draws.double().var((0, 1)) - 1 / 12).abs().max() < 2e-3


def test_hashes_of_orders_are_those_that_hosts_write():
    orders = hashed_orders(first_outputs(SEEDS, "order"), 30)
    want = [order_digest(order) for order in orders.numpy()]
    assert OrderHashes(orders)() == OrderHashes(orders.numpy())() == want
    assert want[0] != want[1]


def test_a_fleet_sees_what_the_plain_loop_does():
    """Orders, augmentation's draws and those of techniques, epoch by epoch."""
    study = study_of(ARMS, seeds=2, train={"epochs": 2, "batch_size": 10})
    setup, runs = setup_of(study, images=20, machine=HASHED), runs_of(study)
    fleet, plain = Fleet(setup, runs), [PlainTrainer(setup, [run]) for run in runs]
    on_host = Fleet(setup_of(study, images=20, machine=ON_DEVICE), runs)
    for epoch in (1, 2):
        totals, of_host = fleet.train_epoch(epoch), on_host.train_epoch(epoch)
        alone = [one.train_epoch(epoch) for one in plain]
        assert list(totals.orders) == [one.orders[0] for one in alone]
        assert not set(totals.orders) & set(of_host.orders)
        torch.testing.assert_close(totals.loss, torch.cat([one.loss for one in alone]), rtol=1e-9, atol=0)
        assert totals.orders[0] == totals.orders[1] != totals.orders[2]


def test_an_epoch_can_be_begun_anew_and_ahead():
    study = study_of(ARMS, seeds=1, train={"batch_size": 10})
    setup, runs = setup_of(study, images=20, machine=HASHED), runs_of(study)
    whole, later = Fleet(setup, runs), Fleet(setup, runs)
    whole.train_epoch(1)
    later.load_state({name: tensor.clone() for name, tensor in whole.state().items()})
    first, second = whole.train_epoch(2), later.train_epoch(2)
    assert first.orders == second.orders
    assert torch.equal(first.loss, second.loss)


def test_balanced_orders_are_the_hosts_and_may_be_made_ahead():
    study = study_of(ARMS, seeds=1, train={"sampling": "balanced"})
    setup = setup_of(study, machine=HASHED)
    plan = input_plan(setup, runs_of(study), {})
    ahead, then, host = (
        Batches(setup.images, setup.preprocessing, one, 37)
        for one in (plan, plan, replace(plan, hashed=False))
    )
    ahead.prepare(2)
    assert np.array_equal(ahead.orders(2), then.orders(2))
    assert np.array_equal(ahead.orders(2), host.orders(2))
    for (x, labels), (y, others) in zip(
        ahead.epoch(ahead.orders(2), 2), then.epoch(then.orders(2), 2), strict=True
    ):
        assert torch.equal(x, y)
        assert torch.equal(labels, others)


def test_a_plan_keeps_who_draws():
    """A study that was begun with a host's orders, or a device's, goes on with them wherever it is extended."""
    setup = setup_of(study_of(ARMS, seeds=1))
    (first,) = plan_fleets(setup, [0])
    assert not first.hashed_inputs
    assert "hashed_inputs" not in first.to_json()
    device = replace(setup, machine=replace(setup.machine, on_device=True, hashed_inputs=True))
    (begun,) = plan_fleets(device, [0])
    assert begun.hashed_inputs
    assert FleetPlan.of_json(begun.to_json()) == begun
    assert [plan.hashed_inputs for plan in plan_fleets(setup, [0, 1], [begun])] == [True, True]
    assert [plan.hashed_inputs for plan in plan_fleets(device, [0, 1], [first])] == [False, False]
    assert machine_of(begun, setup.machine).hashed_inputs
    assert not machine_of(first, device.machine).hashed_inputs


def test_a_processor_draws_as_it_always_did():
    assert not choose_machine("cpu", "fp32").hashed_inputs
    assert not FLOAT64.hashed_inputs
    assert Machine(torch.device("cpu"), torch.float32).hashed_inputs is False
