"""Layers that code calls one after another are computed together, and whatever the code does is what it would be."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from regulab.models.stacking import stack_modules
from regulab.models.stacking.followed import PASS
from regulab.training.kernels.choice import missing
from regulab.training.kernels.fusing import fuse

R, B = 3, 4


class Net(nn.Module):
    """What all have in common; each does something else in ``maps``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding="same"), nn.BatchNorm2d(4)
        self.pool, self.relu = nn.MaxPool2d(2), nn.ReLU(inplace=True)
        self.fc = nn.Linear(4, 3)

    def maps(self, x):
        raise NotImplementedError

    def forward(self, x):
        return self.fc(self.maps(x).mean((2, 3)))


class Calls(Net):
    def maps(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)))


class PoolsAndTakesTheNormLast(Net):
    def maps(self, x):
        x = self.bn1(self.pool(self.conv1(x))).relu()
        return self.bn2(F.relu(F.max_pool2d(self.conv2(x), 2)))


class AddsWhatItCameFrom(Net):
    def maps(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        kept = out
        out = self.bn2(self.conv2(out))
        out += kept
        return F.relu(out)


class HoldsEveryPart(Net):
    def maps(self, x):
        a = self.conv1(x)
        b = self.bn1(a)
        c = F.relu(b)
        d = self.conv2(b)
        return c + 2 * b + 3 * a + self.bn2(d)


class UsesANormTwice(Net):
    def maps(self, x):
        first = self.bn1(self.conv1(x))
        second = self.bn1(self.conv1(x * 3))
        return F.relu(second) - F.relu(first)


class ThrowsAway(Net):
    def maps(self, x):
        self.bn2(self.conv1(x))
        return F.relu(self.bn1(self.conv1(x)))


class WritesIntoTheImages(Net):
    def maps(self, x):
        x = x * 1
        with torch.no_grad():  # or else torch refuses, as the weights' gradients need the images
            y = self.conv1(x)
            x += 5
            x[:, :1] = 0
        return F.relu(self.bn1(y)) + self.conv1(x)


class WritesInto(Net):
    def maps(self, x):
        a = b = self.bn1(self.conv1(x))
        F.relu_(b)
        c = self.conv1(x)
        d = self.bn2(c)
        d.mul_(2)
        return a + d.relu_() + c


class ReadsStatistics(Net):
    def maps(self, x):
        y = self.bn1(self.conv1(x))
        return F.relu(y) * self.bn1.running_mean.sum()


class ChangesItsMode(Net):
    def maps(self, x):
        training = self.bn1.training
        self.bn1.eval()
        y = self.bn1(self.conv1(x))
        self.bn1.train(training)
        return F.relu(y)


class WithoutGradient(Net):
    def maps(self, x):
        with torch.no_grad():
            y = self.conv1(x)
        return F.relu(self.bn1(y)) + self.bn2(self.conv2(y))


class CannotCount(Net):
    """Pools to nothing: an error of torch, as in one network."""

    def maps(self, x):
        for _ in range(6):
            x = self.pool(x)
        return self.conv1(x)


KINDS = (
    *(Calls, PoolsAndTakesTheNormLast, AddsWhatItCameFrom, HoldsEveryPart, UsesANormTwice, ThrowsAway),
    *(WritesIntoTheImages, WritesInto, ReadsStatistics, ChangesItsMode, WithoutGradient),
)


def networks(kind: type[Net], dtype: torch.dtype) -> list[Net]:
    torch.manual_seed(0)
    found = [kind().to(dtype) for _ in range(R)]
    for one in found:
        for norm in (one.bn1, one.bn2):
            nn.init.normal_(norm.weight)  # of both signs
            nn.init.normal_(norm.bias)
    return found


def waiting(plain: Sequence[nn.Module]) -> tuple[nn.Module, list[list[str]]]:
    """A stack whose layers wait, computed one by one; and the kinds of those that were computed together."""
    stack, rows = stack_modules(plain, followed=True), []

    def together(layers, x):
        rows.append([type(layer).__name__ for layer in layers])
        for layer in layers:
            x = layer(x)
        return x

    vars(stack)[PASS].together = together
    return stack, rows


def images(dtype: torch.dtype) -> torch.Tensor:
    x = torch.randn(B, R * 2, 8, 8, generator=torch.Generator().manual_seed(1)).to(dtype)
    return x.contiguous(memory_format=torch.channels_last)


def compared(stack: nn.Module, plain: Sequence[nn.Module], x: torch.Tensor, **close: Any) -> None:
    for training in (True, True, False):
        stack.train(training)
        own = stack(x)
        each = [one.train(training)(part) for one, part in zip(plain, x.split(2, 1), strict=True)]
        torch.testing.assert_close(own, torch.cat(each, 1), **close)
        if not training:
            continue
        names = [name for name, _ in stack.named_parameters()]
        found = torch.autograd.grad((own**2).sum(), list(stack.parameters()), allow_unused=True)
        wanted = [
            torch.autograd.grad((y**2).sum(), list(one.parameters()), allow_unused=True)
            for one, y in zip(plain, each, strict=True)
        ]
        for name, got, *want in zip(names, found, *wanted, strict=True):
            assert (got is None) == (want[0] is None), name
            if got is not None:
                torch.testing.assert_close(got, torch.stack(want), **close)
    for name, buffer in stack.named_buffers():
        held = torch.stack([one.get_buffer(name) for one in plain])
        torch.testing.assert_close(buffer, held, **close)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_network_is_its_runs(kind):
    plain = networks(kind, torch.float64)
    stack, rows = waiting(plain)
    compared(stack, plain, images(torch.float64))
    assert rows
    assert not vars(stack)[PASS].waiting


@pytest.mark.skipif(missing(torch.device("cpu"), torch.float32) is not None, reason="no compiled kernels")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_with_kernels_too(kind):
    plain = networks(kind, torch.float32)
    stack = fuse(stack_modules(plain, followed=True), torch.float32)
    assert vars(stack)[PASS].together is not None
    compared(stack, plain, images(torch.float32), rtol=1e-3, atol=1e-3)


def test_what_is_computed_together():
    conv, norm, relu = "Conv2d", "BatchNorm2d", "ReLU"
    rows = {kind: waiting(networks(kind, torch.float64)) for kind in KINDS}
    for stack, _ in rows.values():
        stack.train()(images(torch.float64))
    named = {
        kind.__name__: [
            [
                name.removeprefix("Stacked").replace("BatchNorm", "BatchNorm2d")
                if name.startswith("Stacked")
                else name
                for name in row
            ]
            for row in found
        ]
        for kind, (_, found) in rows.items()
    }
    assert named["Calls"] == [[conv, norm, relu, conv, norm, relu]]
    assert named["PoolsAndTakesTheNormLast"] == [
        [conv, "MaxPool2d", norm, relu, conv, "MaxPool2d", relu, norm]
    ]
    assert named["AddsWhatItCameFrom"] == [[conv, norm, relu], [conv, norm]]


def test_what_fails_fails_with_torchs_words():
    plain = networks(CannotCount, torch.float64)
    stack, _ = waiting(plain)
    with pytest.raises(RuntimeError) as own:
        stack(images(torch.float64))
    with pytest.raises(RuntimeError) as torchs:
        plain[0](images(torch.float64)[:, :2])
    assert str(own.value).split()[0] == str(torchs.value).split()[0]
    assert not vars(stack)[PASS].waiting


def test_a_stack_that_waits_can_be_copied():
    plain = networks(Calls, torch.float64)
    stack, _ = waiting(plain)
    stack.eval()(images(torch.float64))
    compared(copy.deepcopy(stack), plain, images(torch.float64))
