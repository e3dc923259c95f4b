"""What stands between two convolutions of a fleet on a GPU, as one operation; and the first block with its convolution.

The equations are those of `regulab.training.kernels.between`, which does the same on a processor; the kernels are
Triton's (`gpu_maps`, `gpu_images`). Convolutions between blocks are left to cuDNN, grouped and channels-last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from regulab.models.hashed_draws import Hashed
from regulab.models.stacking import StackedDropout
from regulab.training.kernels import gpu_images, gpu_maps

IMAGE_CHANNELS = (1, 3)  # of images that a kernel convolves
MOST_CHANNELS = 128  # out, of those: their taps and sums stay in registers
ELEMENTS = 4096  # of a map, in one program
MOST_COLUMNS = 128
STRIP = 8  # programs' tiles that make a strip, of which each has sums of its own
SIZE = 1024  # places times channels, of a program that convolves
IMAGE_STRIP = 16
PLACES = [(0, 0), (0, 1), (1, 0), (1, 1)]  # of a 2×2 window, down and across


@dataclass(frozen=True)
class HashedDrops:
    """Dropout of R runs, hashed by the kernels: whose seed each has, and its threshold (int16) and 1/(1 − rate)."""

    draws: Hashed
    seed_of: Tensor
    lows: Tensor
    scales: Tensor

    def arguments(self) -> tuple[Tensor, ...]:
        return self.scales, self.draws.keys, self.draws.step, self.seed_of, self.lows


@dataclass(frozen=True)
class _Norm:
    """Columns K of N places, their norm and their dropout: what most kernels are called with."""

    places: int
    columns: int
    channels: int
    statistics: tuple[Tensor, Tensor]
    affine: tuple[Tensor, Tensor]
    eps: float
    drops: HashedDrops | None
    before: bool

    @property
    def tile(self) -> tuple[int, int]:
        """Places and columns of a program's part of the map."""
        columns = min(MOST_COLUMNS, _power(self.columns))
        return ELEMENTS // columns, columns

    def programs(self, places: int) -> tuple[int]:
        """As many as there are parts of so many places."""
        return (-(-self.places // places) * -(-self.columns // self.tile[1]),)

    def arguments(self) -> tuple[Any, ...]:
        unused = (self.affine[0],) * 5
        drawn = unused if self.drops is None else self.drops.arguments()
        return (*self.statistics, *self.affine, self.eps, *drawn, self.places, self.columns)

    def options(self) -> tuple[int, bool, bool]:
        return self.channels, self.drops is not None, self.before


def _power(number: int) -> int:
    """The smallest power of two that is not smaller."""
    return 1 << (number - 1).bit_length()


def _statistics(x: Tensor, columns: int, before: bool) -> tuple[Tensor, Tensor]:
    """μ and σ² (biased) of each column, float32."""
    places = x.numel() // columns
    wide = min(MOST_COLUMNS, _power(columns))
    tall = ELEMENTS // wide
    strips, blocks = -(-places // (tall * STRIP)), -(-columns // wide)
    means, squares = _empty(x, (2, strips, columns))
    gpu_maps.statistics[(strips * blocks,)](x, means, squares, places, columns, before, tall, wide, STRIP)
    mean, variance = _empty(x, (2, columns))
    few, some = min(16, wide), min(128, max(16, _power(strips)))
    gpu_maps.join_statistics[(-(-columns // few),)](
        means, squares, mean, variance, places, columns, strips, tall * STRIP, some, few
    )
    return mean, variance


def _empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    """Of float32, wherever the map lies."""
    return torch.empty(tuple(shape), dtype=torch.float32, device=like.device)


def _normalized(x: Tensor, norm: _Norm) -> Tensor:
    y, (tall, wide) = torch.empty_like(x), norm.tile
    gpu_maps.normalize[norm.programs(tall)](x, y, *norm.arguments(), *norm.options(), tall, wide)
    return y


def _gradient_sums(x: Tensor, grad: Tensor, norm: _Norm) -> Tensor:
    """∂L/∂γ and ∂L/∂β: ``(2, K)``."""
    tall, wide = norm.tile
    strips = -(-norm.places // (tall * STRIP))
    sums = _empty(x, (2, strips, norm.columns))
    gpu_maps.gradient_sums[norm.programs(tall * STRIP)](
        x, grad, sums, *norm.arguments(), strips, *norm.options(), tall, wide, STRIP
    )
    return sums.sum(1)


def _pooled(x: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of each 2×2 window, channels-last, and which it was."""
    b, k, h, w = x.shape
    y = torch.empty((b, k, h // 2, w // 2), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    won = torch.empty(y.numel(), dtype=torch.int8, device=x.device)
    wide = min(MOST_COLUMNS, _power(k))
    places, tall = y.numel() // k, ELEMENTS // wide
    programs = -(-places // tall) * -(-k // wide)
    gpu_maps.pool[(programs,)](x, y, won, places, k, h, w, tall, wide)
    return y, won


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
            pooled, won = _pooled(x) if pool == 2 else (x, x.new_empty(0, dtype=torch.int8))
            mean, variance = _statistics(pooled, x.shape[1], before)
            norm = _norm(pooled, runs, (mean, variance), (gamma, beta), eps, drops, before)
            y = _normalized(pooled, norm)
        ctx.save_for_backward(pooled, won, mean, variance, gamma, beta)
        ctx.given, ctx.pool, ctx.input = (runs, eps, drops, before), pool, x.shape
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, won, mean, variance, gamma, beta = ctx.saved_tensors
        runs, eps, drops, before = ctx.given
        height, width = ctx.input[2:]
        with torch.cuda.device_of(x):
            norm = _norm(x, runs, (mean, variance), (gamma, beta), eps, drops, before)
            grad = grad.contiguous(memory_format=torch.channels_last)
            sums, (tall, wide) = _gradient_sums(x, grad, norm), norm.tile
            dx = torch.empty(ctx.input, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
            if ctx.pool == 2 and (height % 2 or width % 2):
                dx.zero_()
            gpu_maps.map_gradient[norm.programs(tall)](
                x,
                grad,
                won,
                dx,
                sums,
                *norm.arguments(),
                height,
                width,
                *norm.options(),
                ctx.pool,
                tall,
                wide,
            )
        return dx, sums[0], sums[1], None, None, None, None, None


class ConvolvedOnGpu(torch.autograd.Function):
    """A 3×3 convolution, padding 1, without bias, of images that want no gradient; pooling, and `BetweenOnGpu`.

    ``x`` is ``(B, R·inputs, H, W)`` with one or three channels a run, ``weight`` ``(R, C, inputs, 3, 3)`` in the
    parameters' type, rounded to that of ``x`` for the products; products and sums are float32.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        gamma: Tensor,
        beta: Tensor,
        eps: float,
        drops: HashedDrops | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        runs = weight.shape[0]
        with torch.cuda.device_of(x):
            pooled, won, images = _convolved(x, weight)
            mean, variance = _statistics(pooled, pooled.shape[1], False)
            norm = _norm(pooled, runs, (mean, variance), (gamma, beta), eps, drops, False)
            y = _normalized(pooled, norm)
        ctx.save_for_backward(pooled, won, images, mean, variance, gamma, beta)
        ctx.given, ctx.input, ctx.weight = (runs, eps, drops, False), x.shape, weight.shape
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, won, images, mean, variance, gamma, beta = ctx.saved_tensors
        runs, channels, inputs = ctx.weight[:3]
        height, width = ctx.input[2:]
        with torch.cuda.device_of(x):
            norm = _norm(x, runs, (mean, variance), (gamma, beta), *ctx.given[1:])
            grad = grad.contiguous(memory_format=torch.channels_last)
            sums = _gradient_sums(x, grad, norm)
            tall, wide, pixels = *_image_tile(channels), _power(inputs * 16)
            strips = -(-norm.places // (tall * IMAGE_STRIP))
            parts = _empty(x, (strips, runs, 4 * pixels, channels))
            gpu_images.taps_gradient[(runs * strips,)](
                images, x, grad, won, parts, sums, *norm.arguments(), ctx.input[0], height, width,
                channels, inputs, norm.drops is not None, tall, wide, pixels, IMAGE_STRIP,
            )  # fmt: skip
        places = _by_place(parts.sum(0), inputs)
        first, *others = (
            places[:, down, across, :, down : down + 3, across : across + 3] for down, across in PLACES
        )
        taps = sum(others, first)
        return None, taps.permute(0, 4, 1, 2, 3), sums[0], sums[1], None, None


def _image_tile(channels: int) -> tuple[int, int]:
    """Places and channels of a program that convolves: what its matrix products take has 16 of each at least."""
    wide = max(16, _power(channels))
    return max(16, SIZE // wide), wide


def _convolved(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The pooled map, which of each window won, and the images with a border of 0, ``(R, inputs, B, H + 2, W + 2)``."""
    b, _, h, w = x.shape
    runs, channels, inputs = weight.shape[:3]
    images = x.new_zeros(runs, inputs, b, h + 2, w + 2)
    images[..., 1:-1, 1:-1] = x.view(b, runs, inputs, h, w).permute(1, 2, 0, 3, 4)
    pixels = _power(inputs * 16)
    taps = x.new_zeros(runs, 4 * pixels, channels)
    for down, across in PLACES:
        _by_place(taps, inputs)[:, down, across, :, down : down + 3, across : across + 3] = weight.permute(
            0, 2, 3, 4, 1
        )
    size = (b, runs * channels, h // 2, w // 2)
    y = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    won = torch.empty(y.numel(), dtype=torch.int8, device=x.device)
    places, (tall, wide) = b * (h // 2) * (w // 2), _image_tile(channels)
    gpu_images.convolve[(runs * -(-places // tall),)](
        images, taps, y, won, places, runs * channels, b, h, w, channels, inputs, tall, wide, pixels
    )
    return y, won, images


def _by_place(taps: Tensor, inputs: int) -> Tensor:
    """A view of ``(R, 4·pixels, C)`` as ``(R, 2, 2, inputs, 4, 4, C)``: for each place of a 2×2 window its pixels."""
    runs, pixels, channels = taps.shape
    of_places = taps.view(runs, 2, 2, pixels // 4, channels)[:, :, :, : inputs * 16]
    return of_places.view(runs, 2, 2, inputs, 4, 4, channels)


def _norm(
    x: Tensor,
    runs: int,
    statistics: tuple[Tensor, Tensor],
    affine: tuple[Tensor, Tensor],
    eps: float,
    drops: HashedDrops | None,
    before: bool,
) -> _Norm:
    assert affine[0].dtype == affine[1].dtype == torch.float32, "the kernels read float32"
    columns = x.shape[1]
    return _Norm(x.numel() // columns, columns, columns // runs, statistics, affine, eps, drops, before)


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
        return HashedDrops(dropout.hashed(shape), dropout.seeds_on(x.device), lows, scales)

    def between(
        self,
        x: Tensor,
        affine: tuple[Tensor, Tensor],
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
        self,
        x: Tensor,
        weight: Tensor,
        affine: tuple[Tensor, Tensor],
        pool: int,
        eps: float,
        drops: HashedDrops | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        given = (x, weight, *affine, eps, drops)
        y, mean, variance = ConvolvedOnGpu.apply(*given)  # type: ignore[no-untyped-call]  # torch types no apply
        return y, mean, variance

    def infer(
        self,
        x: Tensor,
        weight: Tensor | None,
        affine: tuple[Tensor, Tensor],
        statistics: tuple[Tensor, Tensor],
        runs: int,
        pool: int,
        eps: float,
        before: bool,
    ) -> Tensor:
        with torch.cuda.device_of(x):
            if weight is not None:
                x = _convolved(x, weight)[0]
            elif pool == 2:
                x = _pooled(x)[0]
            return _normalized(x, _norm(x, runs, statistics, affine, eps, None, before))
