"""Maps of runs lie channels-last, and so do their gradients; values are those of torch's own operations."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regulab.models.stacking import stack_modules
from regulab.models.stacking.layouts import PLACES_FIRST, is_map, joined_channels, kept
from regulab.models.stacking.products import product_of_runs

R, B = 3, 4


def maps(channels: int, height: int = 5, width: int = 6) -> torch.Tensor:
    """``(B, R, C, H, W)``, channels-last."""
    x = torch.randn(B, height, width, R, channels, dtype=torch.float64).permute(PLACES_FIRST)
    return x.requires_grad_()


class Seen(torch.autograd.Function):
    """Notes how a gradient lies."""

    @staticmethod
    def forward(ctx, x, found):
        ctx.found = found
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        ctx.found.append(gradient.stride())
        return gradient, None


@pytest.mark.parametrize("bias", [False, True])
def test_products_are_torchs_and_gradients_lie_as_the_weights(bias):
    x, w = (torch.randn(R, *size, dtype=torch.float64, requires_grad=True) for size in ((7, 5), (2, 5)))
    b = torch.randn(R, 2, dtype=torch.float64, requires_grad=True) if bias else None
    y = product_of_runs(x, w, b)
    plain = torch.bmm(x, w.transpose(1, 2)) + (0 if b is None else b[:, None])
    torch.testing.assert_close(y, plain)
    inputs = [one for one in (x, w, b) if one is not None]
    own, torchs = (torch.autograd.grad((one**2).sum(), inputs) for one in (y, plain))
    torch.testing.assert_close(own, torchs)
    assert own[1].is_contiguous()
    assert torch.autograd.gradcheck(product_of_runs, (x, w, b))
    assert torch.autograd.gradgradcheck(product_of_runs, (x, w, b))


def test_what_is_a_map():
    x = maps(2)
    assert is_map(x)
    assert is_map(x.flatten(1, 2))
    assert not is_map(x.contiguous())
    assert not is_map(x[:, :, :1])
    assert not is_map(x.transpose(3, 4))
    assert not is_map(torch.randn(B, R, 2))
    assert not is_map(maps(1, 1, 1))  # lies both ways


def test_a_gradient_comes_back_as_the_map_lies():
    found: list[tuple[int, ...]] = []
    x = maps(3)
    y = kept(Seen.apply(x, found))
    loss = (y.contiguous() ** 2).sum()
    (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
    assert found == [x.stride()]
    torch.testing.assert_close(gradient, 2 * x)
    (second,) = torch.autograd.grad((gradient**2).sum(), x)
    torch.testing.assert_close(second, 8 * x)


def test_joined_channels_are_torchs_and_lie_channels_last():
    found: list[tuple[int, ...]] = []
    x, y = maps(3), maps(2)
    joined = joined_channels([Seen.apply(x, found), Seen.apply(y, found)])
    assert is_map(joined)
    torch.testing.assert_close(joined, torch.cat([x, y], 2))
    weight = torch.randn(joined.shape, dtype=torch.float64)
    own = torch.autograd.grad((joined * weight).sum(), (x, y))
    torch.testing.assert_close(own, torch.autograd.grad((torch.cat([x, y], 2) * weight).sum(), (x, y)))
    assert sorted(found) == sorted([x.stride(), y.stride()])
    assert torch.autograd.gradgradcheck(lambda *parts: joined_channels(parts), (x, y))


class Joins(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(5, 4, 3, padding=1)
        self.c = nn.Linear(9 * 16, 3)

    def forward(self, x):
        x = torch.cat([x, self.a(x).relu()], 1)
        x = torch.cat((x, self.b(x)), dim=-3)
        groups = x.view(x.size(0), 3, 3, 4, 4)  # no copy: may be written into
        groups += 1
        y = x.reshape(x.size(0), -1)
        y *= 2
        return self.c(y)


def test_a_followed_network_that_joins_reshapes_and_writes_in_place_is_its_runs():
    torch.manual_seed(0)
    networks = [Joins().double() for _ in range(R)]
    stack = stack_modules(networks, followed=True)
    x = torch.randn(B, R * 2, 4, 4, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    plain = torch.cat([network(part) for network, part in zip(networks, x.split(2, 1), strict=True)], 1)
    own = stack(x)
    torch.testing.assert_close(own, plain)
    (own**2).sum().backward()
    (plain**2).sum().backward()
    for name, weights in stack.named_parameters():
        torch.testing.assert_close(
            weights.grad, torch.stack([dict(n.named_parameters())[name].grad for n in networks])
        )
