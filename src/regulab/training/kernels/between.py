"""What stands between two convolutions of a fleet, as one operation: max pooling, batch norm, ReLU, dropout.

torch does it in eight passes over memory forward and nine backward, this in three and two; on two cores that was
more than half of a training step. The kernel is `between.c`; the plain layers are the reference that it must equal.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from regulab.models.dropout import inverse_keep, threshold


class Shape(ctypes.Structure):
    """The map before pooling, and how it divides among runs."""

    _fields_ = [(name, ctypes.c_int64) for name in ("images", "height", "width", "runs", "channels", "pool")]


@dataclass(frozen=True)
class Drops:
    """Dropout of R runs: for each the int16 draw of its seed ``(B, C, H, W)``, channels-last, and its rate."""

    draws: Sequence[Tensor]
    rates: Sequence[float]


class Between(torch.autograd.Function):
    """``(B, R·C, H, W)``, channels-last, to the same or half the height and width. In training, for each channel

        p = max over each 2×2 window of x, or x      μ = mean p      σ² = mean (p − μ)²
        y = m/(1 − rate) · max(0, γ (p − μ)/√(σ² + ε) + β)      m = 0 where the draw lies below the rate, else 1

    and with g = ∂L/∂y · m/(1 − rate) · [y > 0] and x̂ = (p − μ)/√(σ² + ε), over the n values of a channel,

        ∂L/∂β = Σ g      ∂L/∂γ = Σ g x̂      ∂L/∂p = γ/√(σ² + ε) · (g − ∂L/∂β/n − x̂ ∂L/∂γ/n)

    which goes to the first largest of each window. Also gives μ and σ² (biased), ``(R·C,)``, without gradients.
    Sums, γ and β are float32. Source of the norm: Ioffe & Szegedy 2015 (arXiv 1502.03167).
    """

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
    ) -> tuple[Tensor, Tensor, Tensor]:
        shape, y, pooled, won = _allocated(x, runs, pool, training=True)
        mean, variance = torch.empty_like(gamma), torch.empty_like(gamma)
        rates = drops.rates if drops is not None else [0.0] * runs
        scale = torch.tensor([inverse_keep(rate) for rate in rates]).repeat_interleave(shape.channels)
        _call(kernel.forward, shape, True, x, pooled, won, y, gamma, beta, eps, mean, variance, drops, scale)
        ctx.save_for_backward(y, pooled, won, gamma, mean, variance, scale)
        ctx.kernel, ctx.shape, ctx.eps, ctx.input = kernel, shape, eps, x.shape
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        y, pooled, won, gamma, mean, variance, scale = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        covered = ctx.shape.pool == 1 or ctx.shape.height % 2 == ctx.shape.width % 2 == 0
        dx = torch.empty(ctx.input, dtype=y.dtype, memory_format=torch.channels_last)
        if not covered:
            dx.zero_()
        dgamma, dbeta = torch.empty_like(gamma), torch.empty_like(gamma)
        pointers = (_pointer(t) for t in (grad, y, pooled, won, dx, gamma, mean, variance))
        sums = (_pointer(t) for t in (scale, dgamma, dbeta))
        failed = ctx.kernel.backward(ctypes.byref(ctx.shape), *pointers, ctypes.c_float(ctx.eps), *sums)
        if failed:
            raise MemoryError
        return dx, dgamma, dbeta, None, None, None, None, None


def infer(
    x: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor,
    variance: Tensor,
    kernel: ctypes.CDLL,
    runs: int,
    pool: int,
    eps: float,
) -> Tensor:
    """Inference: the running averages in the place of μ and σ², no dropout, no gradient."""
    shape, y, _, won = _allocated(x, runs, pool, training=False)
    _call(kernel.forward, shape, False, x, y, won, y, gamma, beta, eps, mean, variance, None, mean)
    return y


def _allocated(x: Tensor, runs: int, pool: int, *, training: bool) -> tuple[Shape, Tensor, Tensor, Tensor]:
    """The shape, and memory for y, the pooled map and the winners of its windows."""
    b, k, h, w = x.shape
    shape = Shape(b, h, w, runs, k // runs, pool)
    y = x.new_empty((b, h // pool, w // pool, k)).permute(0, 3, 1, 2)
    if pool == 1:
        return shape, y, x, torch.empty(0, dtype=torch.uint8)
    won = torch.empty(y.numel(), dtype=torch.uint8)
    return shape, y, torch.empty_like(y) if training else y, won


def _call(
    function: Any,
    shape: Shape,
    training: bool,
    x: Tensor,
    pooled: Tensor,
    won: Tensor,
    y: Tensor,
    gamma: Tensor,
    beta: Tensor,
    eps: float,
    mean: Tensor,
    variance: Tensor,
    drops: Drops | None,
    scale: Tensor,
) -> None:
    draws = low = None
    if drops is not None:
        draws = (ctypes.c_void_p * shape.runs)(*(draw.data_ptr() for draw in drops.draws))
        low = (ctypes.c_int16 * shape.runs)(*(threshold(rate) for rate in drops.rates))
    maps = (_pointer(t) for t in (x, pooled, won, y, gamma, beta))
    failed = function(
        ctypes.byref(shape),
        ctypes.c_int(training),
        *maps,
        ctypes.c_float(eps),
        _pointer(mean),
        _pointer(variance),
        draws,
        low,
        _pointer(scale),
    )
    if failed:
        raise MemoryError


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())
