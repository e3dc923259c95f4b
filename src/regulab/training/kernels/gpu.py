"""What stands between two convolutions of a fleet on a GPU, as one operation; and the first block with its convolution.

The equations are those of `regulab.training.kernels.between`, which does the same on a processor; the kernels are
Triton's (`gpu_maps`, `gpu_images`). Convolutions between blocks are left to cuDNN, grouped and channels-last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from regulab.models.stacking import StackedDropout
from regulab.training.kernels.gpu_convolved import ConvolvedOnGpu, PaddedImages, convolved
from regulab.training.kernels.gpu_passes import (
    HashedDrops,
    NormOfMap,
    Pair,
    gradient_sums,
    map_gradient,
    normalized,
    pooled,
    statistics,
)
from regulab.training.kernels.gpu_tiles import arms_side_by_side
from regulab.training.kernels.shared_images import runs_per_image

IMAGE_CHANNELS = (1, 3)  # of images that a kernel convolves
MOST_CHANNELS = 128  # out, of those: their taps and sums stay in registers


class BetweenOnGpu(torch.autograd.Function):
    """`regulab.training.kernels.between.Between`, with draws that are hashed."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gamma: Tensor,
        beta: Tensor,
        runs: int,
        pool: int,
        eps: float,
        drops: HashedDrops | None,
        before: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        assert not (before and pool == 2), "no network pools between ReLU and norm"
        with torch.cuda.device_of(x):
            if pool == 2:
                p, won, (mean, variance) = pooled(x)
            else:
                p, won = x, x.new_empty(0, dtype=torch.int8)
                mean, variance = statistics(x, x.shape[1], before)
            norm = NormOfMap.of(p, runs, (mean, variance), (gamma, beta), eps, before, drops)
            y = normalized(p, norm)
        ctx.save_for_backward(p, won)
        ctx.norm, ctx.pool, ctx.input = norm, pool, x.shape
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        (p, won), norm = ctx.saved_tensors, ctx.norm
        with torch.cuda.device_of(p):
            grad = grad.contiguous(memory_format=torch.channels_last)
            sums = gradient_sums(p, grad, norm)
            dx = map_gradient(p, grad, won, sums, norm, ctx.pool, ctx.input)
        return dx, sums[0], sums[1], None, None, None, None, None


@dataclass(frozen=True)
class GpuKernels:
    """Implements `regulab.training.kernels.choice.Kernels`."""

    def convolves(self, x: Tensor, weight: Tensor, pool: int) -> bool:
        channels, inputs = weight.shape[1:3]
        fits = inputs in IMAGE_CHANNELS and channels <= MOST_CHANNELS
        return fits and pool == 2 and min(x.shape[2:]) >= 2 and not x.requires_grad

    def drops(self, dropout: StackedDropout, x: Tensor, shape: torch.Size) -> HashedDrops | None:
        if dropout.hashed is None:
            return None
        lows, scales = dropout.thresholds_and_scales(x)
        arms = arms_side_by_side(dropout.seed_of)
        return HashedDrops(dropout.hashed(shape), dropout.seeds_on(x.device), lows, scales, arms)

    def between(
        self,
        x: Tensor,
        affine: Pair,
        runs: int,
        pool: int,
        eps: float,
        drops: HashedDrops | None,
        before: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        given = (x, *affine, runs, pool, eps, drops, before)
        y, mean, variance = BetweenOnGpu.apply(*given)  # type: ignore[no-untyped-call]  # torch types no apply
        return y, mean, variance

    def convolved(
        self, x: Tensor, weight: Tensor, affine: Pair, pool: int, eps: float, drops: HashedDrops | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        given = (x, weight, *affine, eps, drops, runs_per_image(x))
        y, mean, variance = ConvolvedOnGpu.apply(*given)  # type: ignore[no-untyped-call]  # torch types no apply
        return y, mean, variance

    def infer(
        self,
        x: Tensor,
        weight: Tensor | None,
        affine: Pair,
        statistics: Pair,
        runs: int,
        pool: int,
        eps: float,
        before: bool,
    ) -> Tensor:
        with torch.cuda.device_of(x):
            if weight is not None:
                x = convolved(PaddedImages.of(x, runs, runs_per_image(x), weight.shape[1]), weight)[0]
            elif pool == 2:
                x = pooled(x)[0]
            return normalized(x, NormOfMap.of(x, runs, statistics, affine, eps, before))
