"""Layers of a person's own that say themselves how they stack: believed after the check of stacks, and not before."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from regulab.training.planning import plan_fleets
from regulab.training.trainer import Trainer
from tests.cases import own
from tests.training.setups import FLOAT64, runs_of

NETS = """
import torch
from torch import nn

from regulab.models.layers.draws import RandomLayer, StackedRandomLayer
from regulab.models.stacking import stack_parameters


class Scaled(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(channels))

    def forward(self, x):
        return x * self.scale.flatten()[:, None, None]

    @staticmethod
    def stacked(layers):
        stack = Scaled(1)
        stack_parameters(stack, layers, ("scale",))
        return stack


class Leaks(Scaled):
    @staticmethod
    def stacked(layers):
        stack = Leaks(1)
        stack_parameters(stack, layers, ("scale",))
        return stack

    def forward(self, x):
        return super().forward(x) - (x.mean(1, keepdim=True) if self.scale.ndim > 1 else 0)


class Fails(Scaled):
    @staticmethod
    def stacked(layers):
        return layers[7]


class Forgets(Scaled):
    @classmethod
    def stacked(cls, layers):
        return None


class Noise(RandomLayer):
    def forward(self, x):
        if not self.training:
            return x
        return x + self.draw(torch.Size((len(x), x.shape[1], 1, 1))) / 2**15

    @staticmethod
    def stacked(layers):
        return StackedNoise(len(layers))


class StackedNoise(StackedRandomLayer):
    def forward(self, x):
        if not self.training:
            return x
        shape = torch.Size((len(x), x.shape[1] // len(self.seed_of), 1, 1))
        return x + torch.cat(self.drawn(shape), 1) / 2**15


class Net(nn.Module):
    layer = Scaled

    def __init__(self, in_channels, classes):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 4, 3)
        self.own = self.layer(4) if self.layer is not Noise else Noise()
        self.head = nn.Linear(4, classes)

    def forward(self, x):
        return self.head(self.own(torch.relu(self.conv(x))).mean((2, 3)))


class WithScaled(Net):
    layer = Scaled


class WithNoise(Net):
    layer = Noise


class WithLeaks(Net):
    layer = Leaks


class WithFails(Net):
    layer = Fails


class WithForgets(Net):
    layer = Forgets


class HasStacked(Net):
    stacked = True  # a name like any other
"""


def study_with(tmp_path, name):
    (tmp_path / "nets.py").write_text(NETS)
    return own.study_of(f"{tmp_path / 'nets.py'}:{name}", seeds=2)


@pytest.mark.parametrize("name", ["WithScaled", "WithNoise", "HasStacked"])
def test_a_fleet_trains_them_as_the_plain_loop_does(tmp_path, name):
    study = study_with(tmp_path, name)
    setup = own.prepared(study)
    (plan,) = plan_fleets(setup, study.seeds)
    assert (plan.engine, plan.reason) == ("fleet", "")
    exact = replace(setup, machine=FLOAT64)
    runs = runs_of(study)
    fleet, plains = Fleet(exact, runs), [PlainTrainer(exact, [run]) for run in runs]
    trainers: list[Trainer] = [fleet, *plains]
    for trainer in trainers:
        trainer.train_epoch(1)
    for row, plain in enumerate(plains):
        for key, value in plain.weights().items():
            torch.testing.assert_close(fleet.weights()[key][row], value[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("WithLeaks", "mixes the runs|another run's"),
        ("WithFails", "Fails.stacked fails: list index out of range"),
        ("WithForgets", "Forgets.stacked gives NoneType, no nn.Module"),
    ],
)
def test_one_that_does_not_do_what_it_says_trains_under_vmap(tmp_path, name, reason):
    study = study_with(tmp_path, name)
    (plan, *_) = plan_fleets(own.prepared(study), study.seeds)
    assert plan.engine == "vmap"
    assert re.search(reason, plan.reason), plan.reason
