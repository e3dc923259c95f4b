"""A golden trace: the losses of a short training in float64. Mathematics unchanged, trace unchanged."""

from __future__ import annotations

import pytest

from regulab.training.fleet import Fleet
from tests.training.setups import FLOAT64, runs_of, setup_of, study_of

ARMS = {"none": {}, "l1": {"l1": 1e-3}, "l2": {"l2": 1e-2, "augmentation": 10}, "dropped": {"dropout": 0.4}}
TRACE = [
    [2.237679979, 2.237911457, 2.239432593, 2.347012767],
    [1.843171659, 1.851901389, 1.901020975, 2.292113015],
    [1.562110396, 1.566898663, 1.601053973, 2.257210127],
]


def test_the_losses_are_those_recorded():
    study = study_of(ARMS, seeds=[7], train={"epochs": 3, "schedule": {"name": "one_cycle", "max_lr": 0.2}})
    fleet = Fleet(setup_of(study, machine=FLOAT64), runs_of(study))
    trace = [fleet.train_epoch(epoch).loss.tolist() for epoch in (1, 2, 3)]
    for got, want in zip(trace, TRACE, strict=True):
        assert got == pytest.approx(want, rel=1e-6), trace
