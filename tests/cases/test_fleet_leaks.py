"""A fleet never leaks from run to run: what cannot stand side by side is noticed, what can is not turned away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from regulab.models.stacking import Unstackable
from regulab.training.fleet import Fleet
from regulab.training.machine import Machine
from regulab.training.plain import PlainTrainer
from regulab.training.planning import CHECKED_SEEDS, choose_engine
from regulab.training.stack_check import check_stack
from tests.cases.made import made
from tests.training.setups import CPU, FLOAT32, FLOAT64, FUSED, runs_of, study_of

STUDY = study_of(
    {"none": {}, "l1": {"l1": 0.3}, "dropped": {"dropout": 0.4}},
    seeds=2,
    train={"batch_size": 20, "optimizer": {"name": "sgd", "lr": 0.05}, "schedule": {"name": "constant"}},
    model={"dropout": None},
)
RUNS = runs_of(STUDY)
MIXED = Machine(CPU, torch.bfloat16, kernels=FUSED.kernels)


def engine(make: Callable[[], nn.Module], machine: Machine = FLOAT32) -> tuple[str, str]:
    setup = made(make, STUDY, machine)
    return choose_engine(setup, [setup.module(replace(RUNS[0], seed=s)) for s in range(CHECKED_SEEDS)])


def conv(inputs: int, outputs: int, **more: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **more)


class Headed(nn.Module):
    """A body of six channels, and a linear layer that starts at zero and sees what ``pooled`` makes of the map."""

    def __init__(self, features: int = 6, body: nn.Module | None = None) -> None:
        super().__init__()
        self.body = body or nn.Sequential(conv(1, 6), nn.BatchNorm2d(6), nn.ReLU())
        self.head = nn.Linear(features, 10)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.pooled(self.body(x)))


class MeanBesideLargest(Headed):
    def __init__(self) -> None:
        super().__init__(12)

    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)


class OverTheLargestOfAll(Headed):
    """What leaks leaves no gradient."""

    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        return (x / x.detach().amax().clamp(min=30)).mean((2, 3))


class AttentionOverChannels(Headed):
    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        return (x * x.softmax(1)).mean((2, 3))


class OnlyInTraining(Headed):
    """In inference there is nothing to see."""

    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        return (x - x.mean(1, keepdim=True) if self.training else x).mean((2, 3))


class RandomPlaces(Headed):
    """Another constant in every network, in an attribute that is neither parameter nor buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.places = torch.randperm(6)

    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, self.places].mean((2, 3)) if x.shape[1] == 6 else x.mean((2, 3))


def with_hook() -> nn.Module:
    net = Headed()
    net.body[1].register_forward_hook(lambda layer, inputs, output: 2 * output)
    return net


def with_a_method_of_its_own() -> nn.Module:
    net = Headed()
    layer = net.body[0]
    layer.forward = lambda x: 2 * nn.Conv2d.forward(layer, x)
    return net


MIXING: dict[str, Callable[[], nn.Module]] = {
    "mean beside largest": MeanBesideLargest,
    "over the largest of all": OverTheLargestOfAll,
    "attention over channels": AttentionOverChannels,
    "only in training": OnlyInTraining,
    "weight norm": lambda: Headed(body=nn.Sequential(parametrizations.weight_norm(conv(1, 6)), nn.ReLU())),
    "spectral norm": lambda: Headed(
        body=nn.Sequential(parametrizations.spectral_norm(conv(1, 6)), nn.ReLU())
    ),
    "softmax": lambda: Headed(body=nn.Sequential(conv(1, 6), nn.Softmax(1))),
    "local response": lambda: Headed(body=nn.Sequential(conv(1, 6), nn.LocalResponseNorm(3))),
}


@pytest.mark.parametrize("name", MIXING)
def test_what_would_mix_runs_in_the_channels_is_followed_and_equals_the_plain_loops(name):
    make = MIXING[name]
    for machine in (FLOAT32, FUSED, MIXED):
        assert engine(make, machine) == ("followed", "")
    with pytest.raises(Unstackable):
        check_stack([made(make, STUDY).module(RUNS[0]) for _ in range(3)], torch.rand(8, 1, 8, 8))
    check_equal(make, "followed")


def test_what_hooks_do_vmap_does_too():
    for machine in (FLOAT32, FUSED, MIXED):
        name, reason = engine(with_hook, machine)
        assert name == "vmap"
        assert "hooks" in reason
    check_equal(with_hook, "vmap")


@pytest.mark.parametrize("make", [RandomPlaces, with_a_method_of_its_own])
def test_what_no_rule_reaches_trains_in_the_plain_loop_with_a_reason(make):
    for machine in (FLOAT32, FUSED, MIXED):
        name, reason = engine(make, machine)
        assert name == "plain"
        assert reason


def test_the_plain_loops_numbers_do_not_depend_on_who_else_is_in_the_study():
    """The network that got 78.9 % alone and 23 % beside an L1 arm: its runs are the same with and without."""
    setup = made(MeanBesideLargest, STUDY)
    alone = made(MeanBesideLargest, study_of({"none": {}}, seeds=2, **{"train": STUDY.train.model_dump()}))
    losses = [PlainTrainer(one, [RUNS[0]]).train_epoch(1).loss for one in (setup, alone)]
    assert torch.equal(*losses)


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(channels, channels), nn.BatchNorm2d(channels), nn.ReLU(), conv(channels, channels)
        )
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.norm(self.body(x)))


class Separable(nn.Module):
    """A mobile network's inverted residual: 1×1 up, depthwise 3×3, 1×1 down, each with batch norm."""

    def __init__(self, channels: int, wide: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6(),
            conv(wide, wide, groups=wide), nn.BatchNorm2d(wide), nn.ReLU6(),
            nn.Conv2d(wide, channels, 1, bias=False), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


def end(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]


def fused(inputs: int, outputs: int) -> list[nn.Module]:
    return [conv(inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU()]


def check_equal(make: Callable[[], nn.Module], engine: str = "fleet") -> None:
    """Two epochs in float64: to rounding, losses and weights are those of the plain loops."""
    setup = made(make, STUDY, FLOAT64)
    fleet, plains = Fleet(setup, RUNS, engine), [PlainTrainer(setup, [run]) for run in RUNS]
    for epoch in (1, 2):
        together = fleet.train_epoch(epoch).loss
        alone = torch.cat([plain.train_epoch(epoch).loss for plain in plains])
        torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-10)
    for run, plain in enumerate(plains):
        for key, value in plain.weights().items():
            torch.testing.assert_close(fleet.weights()[key][run], value[0], rtol=1e-7, atol=1e-9)


FLEETS = {
    "a norm that is not fused before one that is": lambda: nn.Sequential(
        conv(1, 4), nn.BatchNorm2d(4), nn.GELU(), *fused(4, 6), *end(6)
    ),
    "dropout between norm and activation": lambda: nn.Sequential(
        conv(1, 4), nn.BatchNorm2d(4), nn.Dropout(0.2), nn.ReLU(), *fused(4, 6), *end(6)
    ),
    "residual sums": lambda: nn.Sequential(*fused(1, 6), Residual(6), Residual(6), *fused(6, 6), *end(6)),
    "norms without parameters": lambda: nn.Sequential(
        conv(1, 4), nn.BatchNorm2d(4, affine=False), nn.ReLU(), *fused(4, 6), *end(6)
    ),
    "norms of one channel": lambda: nn.Sequential(
        nn.BatchNorm2d(1), conv(1, 1), nn.BatchNorm2d(1), *fused(1, 1), *end(1)
    ),
    "a norm on the images alone": lambda: nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 10)),
    "a mobile network": lambda: nn.Sequential(*fused(1, 6), *[Separable(6, 12) for _ in range(3)], *end(6)),
    "changed in place": lambda: nn.Sequential(
        conv(1, 4), nn.BatchNorm2d(4), nn.ReLU(inplace=True), conv(4, 6), nn.ReLU(inplace=True), *end(6)
    ),
    "all starts at zero": lambda: Headed(),
}


@pytest.mark.parametrize("name", FLEETS)
def test_what_can_stand_side_by_side_sails_and_equals_the_plain_loops(name):
    """In float64 to rounding; with kernels and bfloat16 it trains, and the engine is the same one."""
    make = FLEETS[name]
    for machine in (FLOAT64, FLOAT32, FUSED, MIXED):
        assert engine(make, machine) == ("fleet", "")
    check_equal(make)
    for machine, tolerance in ((FUSED, 1e-3), (MIXED, 0.05)):
        loss = Fleet(made(make, STUDY, machine), RUNS).train_epoch(1).loss
        first = torch.cat(
            [PlainTrainer(made(make, STUDY, FLOAT64), [run]).train_epoch(1).loss for run in RUNS]
        )
        torch.testing.assert_close(loss, first, rtol=tolerance, atol=tolerance)
