"""Which runs share their draws: all arms of a seed, or with ``pairing: none`` nobody."""

from __future__ import annotations

import torch

from regulab.models import weights_hash
from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from tests.training.setups import runs_of, setup_of, study_of


def test_without_pairing_every_run_has_draws_of_its_own_and_still_equals_the_plain_loop():
    arms = {"none": {"dropout": 0.2}, "twin": {"dropout": 0.2}, "augmented": {"augmentation": {"rotate": 20}}}
    study = study_of(arms, pairing="none", model={"dropout": 0.1}, seeds=2)
    setup, runs = setup_of(study), runs_of(study)
    fleet, plains = Fleet(setup, runs), [PlainTrainer(setup, [run]) for run in runs]
    hashes = {weights_hash(module) for module in setup.modules(runs)}
    together, alone = fleet.train_epoch(1), [plain.train_epoch(1) for plain in plains]

    assert len(hashes) == len(set(together.orders)) == len(runs) == 6
    assert list(together.orders) == [one.orders[0] for one in alone]
    torch.testing.assert_close(together.loss, torch.cat([one.loss for one in alone]), rtol=1e-4, atol=1e-5)
    fleet.select([1, 2, 5])
    positions = [1, 2, 5]
    again = fleet.train_epoch(2)
    rest = torch.cat([plains[position].train_epoch(2).loss for position in positions])
    torch.testing.assert_close(again.loss, rest, rtol=1e-4, atol=1e-5)


def test_paired_runs_share_the_network_they_start_from():
    study = study_of({"none": {}, "l1": {"l1": 1e-3}}, seeds=2)
    setup, runs = setup_of(study), runs_of(study)
    first, second, *_ = setup.modules(runs)
    assert first is second
    assert len({weights_hash(module) for module in setup.modules(runs)}) == 2
