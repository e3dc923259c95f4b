"""The hooks carry what is not here yet: label smoothing, mixup, weight averaging, as a newcomer would write them."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from regulab import techniques
from regulab.config import Fraction
from regulab.techniques.technique import Hooks, Technique, over_runs
from regulab.training.fleet import Fleet
from regulab.training.plain import PlainTrainer
from regulab.training.setup import Run
from tests.training.setups import FLOAT64, setup_of, study_of


class LabelSmoothing(Technique):
    name: ClassVar[str] = "label_smoothing"
    scalar: ClassVar[str] = "epsilon"
    epsilon: Fraction

    def legend(self):
        return f"label smoothing {self.epsilon:g}"

    @classmethod
    def stack(cls, values):
        def batch(x, targets, generators):
            epsilon = torch.tensor([0.0 if v is None else v.epsilon for v in values], dtype=targets.dtype)[
                :, None
            ]
            return x, targets * (1 - epsilon) + epsilon / targets.shape[-1]

        return Hooks(batch=batch)


class Mixup(Technique):
    name: ClassVar[str] = "mixup"
    scalar: ClassVar[str] = "alpha"
    alpha: Fraction

    def legend(self):
        return f"mixup {self.alpha:g}"

    @classmethod
    def stack(cls, values):
        def batch(x, targets, generators):
            x, targets = x.clone(), targets.clone()
            for run, (value, generator) in enumerate(zip(values, generators, strict=True)):
                share = float(generator.beta(0.4, 0.4))
                if value is not None:
                    x[:, run] = share * x[:, run] + (1 - share) * x[:, run].flip(0)
                    targets[:, run] = share * targets[:, run] + (1 - share) * targets[:, run].flip(0)
            return x, targets

        return Hooks(batch=batch)


class MovingAverage(Technique):
    name: ClassVar[str] = "moving_average"
    scalar: ClassVar[str] = "decay"
    decay: Fraction

    def legend(self):
        return f"weight average {self.decay:g}"

    @classmethod
    def stack(cls, values):
        def average(mean, p):
            decay = torch.tensor([0.0 if v is None else v.decay for v in values], dtype=mean.dtype)
            return p.value + over_runs(decay, p.value) * (mean - p.value)

        return Hooks(average=average)


@pytest.fixture
def registered(monkeypatch):
    for kind in (LabelSmoothing, Mixup, MovingAverage):
        monkeypatch.setitem(techniques.TECHNIQUES, kind.name, kind)


@pytest.mark.parametrize(
    "technique",
    [LabelSmoothing(epsilon=0.2), Mixup(alpha=0.5), MovingAverage(decay=0.8)],
    ids=lambda t: t.name,
)
def test_a_fleet_trains_it_as_the_plain_loop_does(registered, technique):
    setup = setup_of(study_of({"none": {}}, model={"dropout": 0.1}), machine=FLOAT64)
    runs = [Run(arm, seed, t) for seed in (0, 1) for arm, t in (("none", ()), ("with", (technique,)))]
    fleet, plains = Fleet(setup, runs), [PlainTrainer(setup, [run]) for run in runs]
    for epoch in (1, 2):
        fleet.train_epoch(epoch)
        for plain in plains:
            plain.train_epoch(epoch)
    weights = fleet.weights()
    x = torch.rand(5, 1, 8, 8, dtype=torch.float64)
    for position, plain in enumerate(plains):
        for name, value in plain.weights().items():
            torch.testing.assert_close(weights[name][position], value[0], rtol=1e-8, atol=1e-9)
        torch.testing.assert_close(fleet.logits(x)[:, position], plain.logits(x)[:, 0], rtol=1e-8, atol=1e-8)
    first, second = (weights["blocks.4.conv.weight"][position] for position in (0, 1))
    assert (first - second).abs().max() > 1e-4, "the technique does something"
