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
import torch.nn.functional as F
from torch import Tensor

from regulab.models.dropout import inverse_keep, threshold

FIRST_INPUTS = (1, 3)  # channels of images that the kernel convolves


class Shape(ctypes.Structure):
    """The map before pooling, and how it divides among runs; ``inputs`` 0 but for a first block."""

    _fields_ = [
        (name, ctypes.c_int64) for name in ("images", "height", "width", "runs", "channels", "pool", "inputs")
    ]


class First(ctypes.Structure):
    """Of a first block: its padded images, its weights, and where their gradient goes."""

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
        b, k, h, w = x.shape
        call = _Call(kernel, Shape(b, h, w, runs, k // runs, pool, 0), x.dtype, eps)
        y, saved = call.forward(x, gamma, beta, drops)
        *_, mean, variance, _ = saved
        ctx.save_for_backward(gamma, *saved)
        ctx.call, ctx.input = call, x.shape
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        gamma, *saved = ctx.saved_tensors
        shape = ctx.call.shape
        dx = torch.empty(ctx.input, dtype=grad.dtype, memory_format=torch.channels_last)
        if shape.pool == 2 and (shape.height % 2 or shape.width % 2):
            dx.zero_()
        dgamma, dbeta = ctx.call.backward(grad, gamma, saved, dx)
        return dx, dgamma, dbeta, None, None, None, None, None


class FirstBlock(torch.autograd.Function):
    """A 3×3 convolution of images with 1 or 3 channels, padding 1, without bias, and `Between` with pooling.

    ``image`` ``(B, R·inputs, H, W)`` gets no gradient; ``weight`` is ``(R·C, inputs, 3, 3)``. Products and sums of the
    convolution are float32, and its output, four times as large as what remains, stays in registers.
    """

    @staticmethod
    def forward(
        ctx: Any,
        image: Tensor,
        weight: Tensor,
        gamma: Tensor,
        beta: Tensor,
        kernel: ctypes.CDLL,
        runs: int,
        eps: float,
        drops: Drops | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        call, first = _first_call(image, weight, kernel, runs, eps)
        y, saved = call.forward(None, gamma, beta, drops, first)
        *_, mean, variance, _ = saved
        ctx.save_for_backward(gamma, *saved, *first)
        ctx.call = call
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        gamma, *saved, padded, taps = ctx.saved_tensors
        dtaps = torch.empty_like(taps)
        dgamma, dbeta = ctx.call.backward(grad, gamma, saved, None, (padded, taps, dtaps))
        dweight = dtaps.permute(0, 4, 3, 1, 2).flatten(0, 1)  # (R, 3, 3, inputs, C) to (R·C, inputs, 3, 3)
        return None, dweight.to(grad.dtype), dgamma, dbeta, None, None, None, None


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
) -> Tensor:
    """Inference: the running averages in the place of μ and σ², no dropout, no gradient.

    With ``weight``, ``x`` is the image of a `FirstBlock`; without, the map that a convolution left.
    """
    if weight is None:
        b, k, h, w = x.shape
        call = _Call(kernel, Shape(b, h, w, runs, k // runs, pool, 0), x.dtype, eps)
        return call.forward(x, gamma, beta, None, statistics=statistics)[0]
    call, first = _first_call(x, weight, kernel, runs, eps)
    return call.forward(None, gamma, beta, None, first, statistics=statistics)[0]


def _first_call(
    image: Tensor, weight: Tensor, kernel: ctypes.CDLL, runs: int, eps: float
) -> tuple[_Call, tuple[Tensor, Tensor]]:
    """The call of a first block, with its padded images and its weights as the kernel reads them, both float32."""
    b, k, h, w = image.shape
    shape = Shape(b, h, w, runs, weight.shape[0] // runs, 2, k // runs)
    padded = F.pad(image.permute(0, 2, 3, 1).float(), (0, 0, 1, 1, 1, 1))
    taps = weight.unflatten(0, (runs, -1)).permute(0, 3, 4, 2, 1).float().contiguous()
    return _Call(kernel, shape, image.dtype, eps), (padded, taps)


class _Call:
    """One use of the kernel: forward and, with what that left, backward."""

    def __init__(self, kernel: ctypes.CDLL, shape: Shape, dtype: torch.dtype, eps: float) -> None:
        self.kernel, self.shape, self.dtype, self.eps = kernel, shape, dtype, eps

    def forward(
        self,
        x: Tensor | None,
        gamma: Tensor,
        beta: Tensor,
        drops: Drops | None,
        first: tuple[Tensor, Tensor] | None = None,
        statistics: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """y, and what backward needs: y, p, winners, μ, σ², scales. With ``statistics`` for μ and σ²: inference."""
        s, training = self.shape, statistics is None
        mean, variance = statistics or (torch.empty_like(gamma), torch.empty_like(gamma))
        size = (s.images, s.runs * s.channels, s.height // s.pool, s.width // s.pool)
        y = torch.empty(size, dtype=self.dtype, memory_format=torch.channels_last)
        won = torch.empty(y.numel() if s.pool == 2 else 0, dtype=torch.uint8)
        pooled = (torch.empty_like(y) if training else y) if s.pool == 2 else x
        assert pooled is not None
        rates = drops.rates if drops is not None else [0.0] * s.runs
        scale = torch.tensor([inverse_keep(rate) for rate in rates]).repeat_interleave(s.channels)
        draws = low = None
        if drops is not None:
            draws = (ctypes.c_void_p * s.runs)(*(draw.data_ptr() for draw in drops.draws))
            low = (ctypes.c_int16 * s.runs)(*(threshold(rate) for rate in drops.rates))
        failed = self.kernel.forward(
            ctypes.byref(s),
            _structure(*(first or ())),
            ctypes.c_int(training),
            *(_pointer(t) for t in (x, pooled, won, y, gamma, beta)),
            ctypes.c_float(self.eps),
            _pointer(mean),
            _pointer(variance),
            draws,
            low,
            _pointer(scale),
        )
        if failed:
            raise MemoryError
        return y, (y, pooled, won, mean, variance, scale)

    def backward(
        self,
        grad: Tensor,
        gamma: Tensor,
        saved: Sequence[Tensor],
        dx: Tensor | None,
        first: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """∂L/∂γ and ∂L/∂β; fills ``dx``, or the last of ``first``."""
        y, pooled, won, mean, variance, scale = saved
        dgamma, dbeta = torch.empty_like(gamma), torch.empty_like(gamma)
        grad = grad.contiguous(memory_format=torch.channels_last)
        failed = self.kernel.backward(
            ctypes.byref(self.shape),
            _structure(*(first or ())),
            *(_pointer(t) for t in (grad, y, pooled, won, dx, gamma, mean, variance)),
            ctypes.c_float(self.eps),
            *(_pointer(t) for t in (scale, dgamma, dbeta)),
        )
        if failed:
            raise MemoryError
        return dgamma, dbeta


def _structure(*tensors: Tensor) -> Any:
    return ctypes.byref(First(*(t.data_ptr() for t in tensors))) if tensors else None


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())
