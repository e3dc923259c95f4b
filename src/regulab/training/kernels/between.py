"""What stands between two convolutions of a fleet, as one operation: max pooling, batch norm, ReLU, dropout.

torch needs eight passes over memory forward and nine backward, this kernel two and two; on two cores those were more
than half of a training step. The kernel is `between.c`; the plain layers are the reference that it must equal.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from regulab.training.kernels.blocks import BlockOf, Drops, Shape, pointer


class Between(torch.autograd.Function):
    """``(B, R·C, H, W)``, channels-last, to the same or half the height and width. In training, for each channel

        p = max over each 2×2 window of x, or x      μ = mean p      σ² = mean (p − μ)²
        y = m/(1 − rate) · max(0, γ (p − μ)/√(σ² + ε) + β)      m = 0 where the draw lies below the rate, else 1

    and with g = ∂L/∂y · m/(1 − rate) · [y > 0] and x̂ = (p − μ)/√(σ² + ε), over the n values of a channel,

        ∂L/∂β = Σ g      ∂L/∂γ = Σ g x̂      ∂L/∂p = γ/√(σ² + ε) · (g − ∂L/∂β/n − x̂ ∂L/∂γ/n)

    which goes to the first largest of each window. With ``before``, ReLU stands before the norm instead: p = max(0, x),
    y has no other, and the gradient goes to where x > 0. Also gives μ and σ² (biased), ``(R·C,)``, without gradients.
    Sums, γ and β are float32. Source of the norm: Ioffe & Szegedy 2015 (arXiv 1502.03167).
    """

    reads_channels_last = True

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gamma: Tensor,
        beta: Tensor,
        kernel: ctypes.CDLL,
        runs: int,
        pool: int,
        eps: float,
        drops: Drops | None,
        before: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        block = _block(x, gamma, beta, runs, pool, eps, before)
        ctx.kept = block.drop(drops)
        mean, variance = torch.empty_like(gamma), torch.empty_like(gamma)
        y = torch.empty(block.shape.pooled, dtype=x.dtype, memory_format=torch.channels_last)
        pooled = torch.empty_like(y) if pool == 2 else None
        won = torch.empty(y.shape if pool == 2 else 0, dtype=torch.uint8)
        block.point(mean=mean, variance=variance, p=pooled, won=won)
        if kernel.forward(ctypes.byref(block), ctypes.c_int(1), pointer(x), pointer(y)):
            raise MemoryError
        # A pooled map is not read again where its maxima are kept.
        ctx.save_for_backward(gamma, beta, mean, variance, won, x if pooled is None else pooled)
        ctx.kernel, ctx.block, ctx.input = kernel, block, x.shape
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        gamma, beta, *_, map_ = ctx.saved_tensors
        block = ctx.block
        dx = torch.empty(ctx.input, dtype=grad.dtype, memory_format=torch.channels_last)
        if block.shape.pool == 2 and (block.shape.height % 2 or block.shape.width % 2):
            dx.zero_()
        dgamma, dbeta = torch.empty_like(gamma), torch.empty_like(beta)
        block.point(dgamma=dgamma, dbeta=dbeta)
        grad = grad.contiguous(memory_format=torch.channels_last)
        if ctx.kernel.backward(ctypes.byref(block), pointer(grad), pointer(map_), pointer(dx)):
            raise MemoryError
        return dx, dgamma, dbeta, None, None, None, None, None, None


def infer(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    statistics: tuple[Tensor, Tensor],
    kernel: ctypes.CDLL,
    runs: int,
    pool: int,
    eps: float,
    before: bool = False,
) -> Tensor:
    """`Between` in inference: the running averages in the place of μ and σ², no dropout, no gradient."""
    block = _block(x, gamma, beta, runs, pool, eps, before)
    kept = block.drop(None)  # noqa: F841  (it lives until the kernel has read it)
    y = torch.empty(block.shape.pooled, dtype=x.dtype, memory_format=torch.channels_last)
    won = torch.empty(y.shape if pool == 2 else 0, dtype=torch.uint8)
    block.point(mean=statistics[0], variance=statistics[1], won=won)
    if kernel.forward(ctypes.byref(block), ctypes.c_int(0), pointer(x), pointer(y)):
        raise MemoryError
    return y


def _block(x: Tensor, gamma: Tensor, beta: Tensor, runs: int, pool: int, eps: float, before: bool) -> BlockOf:
    assert gamma.dtype == beta.dtype == torch.float32, "the kernel reads float32"
    b, k, h, w = x.shape
    block = BlockOf(shape=Shape(b, h, w, runs, k // runs, pool, 0, before, 0), eps=eps)
    block.point(gamma=gamma, beta=beta)
    return block
