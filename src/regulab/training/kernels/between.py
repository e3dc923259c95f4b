"""What stands between two convolutions of a fleet, as one operation: max pooling, batch norm, ReLU, dropout.

torch needs eight passes over memory forward and nine backward, this kernel two and two; on two cores those were more
than half of a training step. The kernel is `between.c`; the plain layers are the reference that it must equal.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from regulab.models.layers.dropout import inverse_keep, threshold

IMAGE_CHANNELS = (1, 3)  # of images that the kernel convolves
TILE_CHANNELS = 16  # in and out, of what it convolves by tiles


class Shape(ctypes.Structure):
    """The map before pooling, and how it divides among runs; ``inputs`` 0 but for a block with its convolution.

    ``before`` 1 where ReLU stands before the norm.
    """

    _fields_ = [
        (name, ctypes.c_int64)
        for name in ("images", "height", "width", "runs", "channels", "pool", "inputs", "before")
    ]


class Convolution(ctypes.Structure):
    """What is convolved, the weights, and where their gradient goes."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("image", "weight", "dweight")]


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
        assert not (before and pool == 2), "no network pools between ReLU and norm"
        b, k, h, w = x.shape
        call = _Call(kernel, Shape(b, h, w, runs, k // runs, pool, 0, before), x.dtype, eps)
        y, saved = call.forward(x, gamma, beta, drops)
        *_, mean, variance, _ = saved
        ctx.save_for_backward(gamma, beta, *saved)
        ctx.call, ctx.drops, ctx.input = call, drops, x.shape
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        gamma, beta, *saved = ctx.saved_tensors
        shape = ctx.call.shape
        dx = torch.empty(ctx.input, dtype=grad.dtype, memory_format=torch.channels_last)
        if shape.pool == 2 and (shape.height % 2 or shape.width % 2):
            dx.zero_()
        dgamma, dbeta = ctx.call.backward(grad, gamma, beta, saved, ctx.drops, dx)
        return dx, dgamma, dbeta, None, None, None, None, None, None


class Convolved(torch.autograd.Function):
    """A 3×3 convolution, padding 1, without bias, and `Between`. Its output is never written.

    Either of images with 1 or 3 channels, which get no gradient, with pooling: products and sums are float32. Or of 16
    channels to 16 on a processor's matrix units: products bfloat16, sums float32. ``x`` is ``(B, R·inputs, H, W)``,
    ``weight`` ``(R, C, inputs, 3, 3)`` in the parameters' type, rounded to that of ``x`` for the products.
    """

    reads_channels_last = True

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        gamma: Tensor,
        beta: Tensor,
        kernel: ctypes.CDLL,
        pool: int,
        eps: float,
        drops: Drops | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        call, convolution = _convolution(x, weight, kernel, pool, eps)
        y, saved = call.forward(convolution[0], gamma, beta, drops, convolution)
        *_, mean, variance, _ = saved
        ctx.save_for_backward(gamma, beta, *saved, *convolution)
        ctx.call, ctx.drops, ctx.input = call, drops, x.shape
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        gamma, beta, *saved, x, taps = ctx.saved_tensors
        by_tiles = ctx.call.shape.inputs == TILE_CHANNELS
        dx = torch.empty_like(x, memory_format=torch.channels_last) if by_tiles else None
        dtaps = torch.empty_like(taps)
        dgamma, dbeta = ctx.call.backward(grad, gamma, beta, saved, ctx.drops, dx, (x, taps, dtaps))
        return dx, dtaps.permute(0, 4, 3, 1, 2), dgamma, dbeta, None, None, None, None


def infer(
    x: Tensor,
    weight: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    statistics: tuple[Tensor, Tensor],
    kernel: ctypes.CDLL,
    runs: int,
    pool: int,
    eps: float,
    before: bool = False,
) -> Tensor:
    """Inference: the running averages in the place of μ and σ², no dropout, no gradient.

    With ``weight``, ``x`` is what `Convolved` takes; without, the map that a convolution left.
    """
    if weight is None:
        b, k, h, w = x.shape
        call = _Call(kernel, Shape(b, h, w, runs, k // runs, pool, 0, before), x.dtype, eps)
        return call.forward(x, gamma, beta, None, statistics=statistics)[0]
    call, convolution = _convolution(x, weight, kernel, pool, eps)
    return call.forward(convolution[0], gamma, beta, None, convolution, statistics)[0]


def _convolution(
    x: Tensor, weight: Tensor, kernel: ctypes.CDLL, pool: int, eps: float
) -> tuple[_Call, tuple[Tensor, Tensor]]:
    """The call of a block with its convolution, with map and weights as the kernel reads them.

    Images float32 with a border of 0, other maps as they are; weights ``(R, 3, 3, inputs, C)`` float32.
    """
    b, _, h, w = x.shape
    runs, channels, inputs = weight.shape[:3]
    if inputs in IMAGE_CHANNELS:
        seen = torch.zeros(b, h + 2, w + 2, x.shape[1], dtype=torch.float32)
        seen[:, 1:-1, 1:-1] = x.permute(0, 2, 3, 1)
    else:
        seen = x.contiguous(memory_format=torch.channels_last)
    taps = weight.to(x.dtype).permute(0, 3, 4, 2, 1).float().contiguous()
    return _Call(kernel, Shape(b, h, w, runs, channels, pool, inputs), x.dtype, eps), (seen, taps)


class _Call:
    """One use of the kernel: forward and, with what that left, backward."""

    def __init__(self, kernel: ctypes.CDLL, shape: Shape, dtype: torch.dtype, eps: float) -> None:
        self.kernel, self.shape, self.dtype, self.eps = kernel, shape, dtype, eps

    def forward(
        self,
        x: Tensor,
        gamma: Tensor,
        beta: Tensor,
        drops: Drops | None,
        convolution: tuple[Tensor, Tensor] | None = None,
        statistics: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """y, and what backward needs: p, winners, μ, σ², scales. With ``statistics`` for μ and σ²: inference."""
        assert gamma.dtype == beta.dtype == torch.float32, "the kernel reads float32"
        s, training = self.shape, statistics is None
        mean, variance = statistics or (torch.empty_like(gamma), torch.empty_like(gamma))
        size = (s.images, s.runs * s.channels, s.height // s.pool, s.width // s.pool)
        y = torch.empty(size, dtype=self.dtype, memory_format=torch.channels_last)
        won = torch.empty(y.numel() if s.pool == 2 else 0, dtype=torch.uint8)
        pooled = (torch.empty_like(y) if training else y) if s.pool == 2 or s.inputs else x
        scale = _scales(tuple(drops.rates) if drops is not None else (0.0,) * s.runs, s.channels)
        failed = self.kernel.forward(
            ctypes.byref(s),
            _structure(*(convolution or ())),
            ctypes.c_int(training),
            *(_pointer(t) for t in (x, pooled, won, y, gamma, beta)),
            ctypes.c_float(self.eps),
            _pointer(mean),
            _pointer(variance),
            *_sources(drops),
            _pointer(scale),
        )
        if failed:
            raise MemoryError
        return y, (pooled, won, mean, variance, scale)

    def backward(
        self,
        grad: Tensor,
        gamma: Tensor,
        beta: Tensor,
        saved: Sequence[Tensor],
        drops: Drops | None,
        dx: Tensor | None,
        convolution: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """∂L/∂γ and ∂L/∂β; fills ``dx``, and the last of ``convolution``."""
        pooled, won, mean, variance, scale = saved
        dgamma, dbeta = torch.empty_like(gamma), torch.empty_like(gamma)
        grad = grad.contiguous(memory_format=torch.channels_last)
        failed = self.kernel.backward(
            ctypes.byref(self.shape),
            _structure(*(convolution or ())),
            *(_pointer(t) for t in (grad, pooled, won, dx, gamma, beta, mean, variance)),
            ctypes.c_float(self.eps),
            *_sources(drops),
            *(_pointer(t) for t in (scale, dgamma, dbeta)),
        )
        if failed:
            raise MemoryError
        return dgamma, dbeta


@lru_cache
def _scales(rates: tuple[float, ...], channels: int) -> Tensor:
    """What each of all channels is multiplied with where dropout keeps it."""
    factors = [inverse_keep(rate) for rate in rates]
    return torch.tensor(factors, dtype=torch.float32).repeat_interleave(
        channels
    )  # whatever torch's default is


def _sources(drops: Drops | None) -> tuple[Any, Any]:
    """For each run where its draws lie, and below which of them it drops."""
    if drops is None:
        return None, None
    runs = len(drops.rates)
    draws = (ctypes.c_void_p * runs)(*(draw.data_ptr() for draw in drops.draws))
    return draws, (ctypes.c_int16 * runs)(*(threshold(rate) for rate in drops.rates))


def _structure(*tensors: Tensor) -> Any:
    return ctypes.byref(Convolution(*(t.data_ptr() for t in tensors))) if tensors else None


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())
