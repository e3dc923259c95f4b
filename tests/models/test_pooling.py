"""Means over maps: the same numbers in either memory, and a gradient as those want it that read it."""

from typing import Any

import pytest
import torch
from torch import Tensor

from regulab.models.layers.pooling import mean_over_map


class Reads(torch.autograd.Function):
    """Gives its input; keeps the strides of the gradient that came."""

    reads_channels_last = True

    @staticmethod
    def forward(ctx: Any, x: Tensor, seen: list[tuple[int, ...]]) -> Tensor:
        ctx.seen = seen
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        ctx.seen.append(grad.stride())
        return grad, None


class ReadsAnything(Reads):
    reads_channels_last = False


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_gradient_comes_as_it_is_read_and_is_the_same(dtype):
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(3, 6, 5, 7, generator=generator).to(dtype).contiguous(memory_format=torch.channels_last)
    upstream = torch.randn(3, 6, generator=generator)
    found, strides = [], []
    for kind in (Reads, ReadsAnything):
        leaf, seen = x.clone().requires_grad_(), list[tuple[int, ...]]()
        y = mean_over_map(kind.apply(leaf, seen))
        (gradient,) = torch.autograd.grad((y.float() * upstream).sum(), leaf)
        found.append((y, gradient))
        strides += seen
    (y, gradient), (plain, other) = found
    assert torch.equal(y, plain)
    assert torch.equal(y, x.mean((2, 3)))
    assert torch.equal(gradient, other)
    assert strides[0] == x.stride() != strides[1]


def test_torch_fx_follows_it_as_a_plain_mean():
    class Pooling(torch.nn.Module):
        def forward(self, x):
            return mean_over_map(x)

    x = torch.randn(2, 3, 4, 5)
    assert torch.equal(torch.fx.symbolic_trace(Pooling())(x), x.mean((2, 3)))
