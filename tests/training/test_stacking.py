"""Stacks equal their plain modules; what cannot be stacked is noticed before it is trained."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from regulab.models.layers.draws import bind_draws
from regulab.models.layers.dropout import DropoutDraws, ElementDropout
from regulab.models.norms.batch import BatchNorm
from regulab.models.stacking import StackedDropout, Unstackable, stack_modules
from regulab.streams import Streams
from regulab.training.stack_check import check_stack

R = 3


class Branches(nn.Module):
    """A residual block, grouped and strided convolutions, functional pooling, flatten: a user's net."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.grouped = nn.Conv2d(6, 6, 3, padding="same", groups=3, dilation=2, bias=False)
        self.norm2 = BatchNorm(6)
        self.shrink = nn.Conv2d(6, 4, 2, stride=2)
        self.norm3 = nn.GroupNorm(2, 4)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(4 * 3 * 4, 7), nn.Tanh(), nn.Linear(7, 5, bias=False)
        )

    def forward(self, x):
        x = F.gelu(self.norm(self.stem(x)))
        x = x + F.relu(self.norm2(self.grouped(x)))
        return self.head(self.norm3(self.shrink(F.avg_pool2d(x, (1, 1)))))


def several(make):
    modules = []
    for seed in range(R):
        torch.manual_seed(seed)
        modules.append(make())
    return modules


def batch(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(8))


def test_a_residual_net_of_many_layer_types_stacks():
    modules = several(Branches)
    stack = stack_modules(modules)
    check_stack(modules, batch(6, 2, 7, 9))
    assert stack.stem.weight.shape == (R, 6, 2, 3, 3)
    assert [name for name, _ in stack.named_parameters()] == [
        name for name, _ in modules[0].named_parameters()
    ]


def test_gradients_of_a_stack_are_the_plain_ones():
    modules = several(Branches)
    stack = stack_modules(modules)
    x = batch(6, 2, 7, 9)
    stack(x.repeat(1, R, 1, 1)).square().sum().backward()
    for r, module in enumerate(modules):
        module(x).square().sum().backward()
        for name, p in module.named_parameters():
            got = stack.get_parameter(name).grad[r]
            torch.testing.assert_close(got, p.grad, rtol=1e-3, atol=1e-5 + 1e-4 * float(p.grad.abs().max()))


class SoftmaxOverChannels(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)

    def forward(self, x):
        return self.conv(x).softmax(1).mean((2, 3))


class HardCodedChannels(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)

    def forward(self, x):
        return self.conv(x).view(-1, 4, 35).mean(2)


class OwnParameter(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))
        self.conv = nn.Conv2d(2, 4, 3)

    def forward(self, x):
        return self.conv(x).mean((2, 3)) * self.scale


class SharedLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.again = self.conv

    def forward(self, x):
        return self.again(self.conv(x)).mean((2, 3))


class SharedParameter(SharedLayer):
    def __init__(self):
        super().__init__()
        self.again = nn.Conv2d(2, 2, 3, padding=1)
        self.again.weight = self.conv.weight


def test_a_weight_that_two_layers_share_stays_one():
    check_stack(several(SharedParameter), batch(6, 2, 7, 9))


@pytest.mark.parametrize("make", [SoftmaxOverChannels, HardCodedChannels, OwnParameter])
def test_code_that_the_runs_side_by_side_would_mix_is_followed(make):
    check_stack(several(make), batch(6, 2, 7, 9), partial(stack_modules, followed=True))


@pytest.mark.parametrize(
    "make",
    [
        SharedLayer,
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), nn.Flatten()),
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.PReLU(), nn.Flatten()),
    ],
)
def test_layers_that_had_no_rule_once_stand_side_by_side(make):
    check_stack(several(make), batch(6, 2, 7, 9))


@pytest.mark.parametrize(
    "make",
    [
        SoftmaxOverChannels,
        HardCodedChannels,
        OwnParameter,
        lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3, momentum=None), nn.Flatten()),
    ],
)
def test_what_cannot_be_stacked_is_noticed(make):
    modules = several(make)
    with pytest.raises(Unstackable):
        check_stack(modules, batch(6, 2, 7, 9))


@pytest.mark.parametrize("shape", [(4, 3, 5, 6), (4, 10)])
@pytest.mark.parametrize("rates", [[0.3, 0.3, 0.3, 0.3], [0.3, 0.0, 0.7, 0.3]])
def test_stacked_dropout_shares_draws_within_seeds(shape, rates):
    """Four runs of two seeds: each run's block is what a plain layer with its seed's draws gives."""
    seeds = [Streams("d", 0), Streams("d", 1)]
    stack = nn.Sequential(StackedDropout([ElementDropout(rate) for rate in rates]))
    sources = [DropoutDraws(streams) for streams in seeds]
    bind_draws(stack, [0, 0, 1, 1], lambda layer, shape: [source.draw(layer, shape) for source in sources])
    parts = [batch(*shape) + r for r in range(4)]
    together = torch.cat(parts, 1)
    if len(shape) == 4:
        together = together.contiguous(memory_format=torch.channels_last)
    for source in sources:
        source.begin(2)
    got = stack(together).chunk(4, 1)
    for r, rate in enumerate(rates):
        plain = nn.Sequential(ElementDropout(rate))
        source = DropoutDraws(seeds[r // 2])
        source.begin(2)
        source.bind(plain)
        torch.testing.assert_close(got[r], plain(parts[r]))
