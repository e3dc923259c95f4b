"""Whatever network people build: as a fleet it gives what the plain loops give, or the plain loop trains it."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest
import torch

from regulab.training.evaluate import evaluate
from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from regulab.training.planning import CHECKED_SEEDS, choose_engine
from tests.cases.made import MadeSetup, made, same
from tests.cases.random_networks import Network
from tests.training.setups import FLOAT64, runs_of, study_of, validation_of

STUDY = study_of(
    {"none": {}, "l1": {"l1": 0.03}, "l2": {"l2": 0.1}},
    seeds=2,
    train={"batch_size": 16, "optimizer": {"name": "sgd", "lr": 0.05}, "schedule": {"name": "constant"}},
    model={"dropout": None},
)
RUNS = runs_of(STUDY)


def engine_of(setup: MadeSetup) -> str:
    first = RUNS[0]
    modules = [setup.module(type(first)(first.arm, seed, first.techniques)) for seed in range(CHECKED_SEEDS)]
    return choose_engine(setup, modules)[0]


def check(seed: int) -> str:
    """Trains the network of a seed in its engine for two epochs; its engine's name."""
    setup = made(partial(Network, seed), STUDY, FLOAT64)
    engine = engine_of(setup)
    if engine == "plain":
        first, again = (PlainTrainer(setup, [RUNS[1]]) for _ in range(2))
        sums = [torch.stack([run.train_epoch(epoch).loss for epoch in (1, 2)]) for run in (first, again)]
        assert torch.equal(*sums)
        assert same(first.weights(), again.weights())
        return engine
    fleet = Fleet(setup, RUNS, engine)
    plains = [PlainTrainer(setup, [run]) for run in RUNS]
    for epoch in (1, 2):
        together = fleet.train_epoch(epoch).loss
        alone = torch.cat([plain.train_epoch(epoch).loss for plain in plains])
        torch.testing.assert_close(together, alone, rtol=1e-7, atol=1e-9, equal_nan=True)
    validation = validation_of(STUDY)
    losses, predicted, _ = evaluate(fleet, validation, setup.preprocessing)
    for run, plain in enumerate(plains):
        for name, value in plain.weights().items():
            torch.testing.assert_close(
                fleet.weights()[name][run], value[0], rtol=1e-6, atol=1e-8, equal_nan=True
            )
        loss, own, _ = evaluate(plain, validation, setup.preprocessing)
        torch.testing.assert_close(losses[run : run + 1], loss, rtol=1e-6, atol=1e-8, equal_nan=True)
        assert torch.equal(predicted[:, run], own[:, 0])
    return engine


@pytest.mark.parametrize("seed", range(12))
def test_a_fleet_equals_the_plain_loops_or_the_plain_loop_trains(seed):
    assert check(seed) in ("fleet", "followed", "vmap", "plain")


@pytest.mark.slow
def test_three_hundred_networks_leak_nothing():
    engines = Counter(check(seed) for seed in range(12, 320))
    print(engines)
    assert engines["fleet"] >= 50, "the property says nothing where nothing trains as a fleet"
    assert engines["followed"] >= 50
    assert engines["plain"] + engines["vmap"] >= 20
