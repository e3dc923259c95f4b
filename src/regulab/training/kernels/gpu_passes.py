"""The passes over a fleet's maps on a GPU, as functions of tensors: statistics, pooling, norm with ReLU and dropout.

The kernels are those of `gpu_maps`. A map is ``(B, K, H, W)`` in channels-last memory, K = R·C columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from regulab.models.hashed_draws import Hashed
from regulab.training.kernels import gpu_maps
from regulab.training.kernels.gpu_tiles import power, sharing_hashes, tiles

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class HashedDrops:
    """Dropout of R runs, hashed by the kernels: whose seed each has, and its threshold (int16) and 1/(1 − rate).

    ``arms`` runs of each seed stand side by side.
    """

    draws: Hashed
    seed_of: Tensor
    lows: Tensor
    scales: Tensor
    arms: int = 1

    def arguments(self) -> tuple[Tensor, ...]:
        return self.draws.keys, self.draws.step, self.seed_of, self.lows


@dataclass(frozen=True)
class NormOfMap:
    """Columns K of N places, their norm and their dropout: what most kernels are called with.

    ``kept`` holds what dropout keeps as bits, for the way there and the way back.
    """

    places: int
    columns: int
    channels: int
    statistics: Pair
    affine: Pair
    eps: float
    before: bool
    scales: Tensor | None = None
    kept: Tensor | None = None

    @classmethod
    def of(
        cls,
        x: Tensor,
        runs: int,
        statistics: Pair,
        affine: Pair,
        eps: float,
        before: bool,
        drops: HashedDrops | None = None,
    ) -> NormOfMap:
        assert affine[0].dtype == affine[1].dtype == torch.float32, "the kernels read float32"
        columns = x.shape[1]
        places = x.numel() // columns
        scales = kept = None
        if drops is not None:
            scales, kept = drops.scales, _kept(places, columns, columns // runs, drops)
        return cls(places, columns, columns // runs, statistics, affine, eps, before, scales, kept)

    @property
    def drops(self) -> bool:
        return self.kept is not None

    @property
    def tile(self) -> tuple[int, int]:
        """Places and columns of a program's part of the map."""
        return tiles().of_map(self.columns)

    def programs(self, places: int) -> tuple[int]:
        """As many as there are parts of so many places."""
        return (-(-self.places // places) * -(-self.columns // self.tile[1]),)

    def arguments(self) -> tuple[Any, ...]:
        unused = self.affine[0]
        dropped = (unused if part is None else part for part in (self.scales, self.kept))
        return (*self.statistics, *self.affine, self.eps, *dropped)


def empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    """Of float32, wherever the map lies."""
    return torch.empty(tuple(shape), dtype=torch.float32, device=like.device)


def statistics(x: Tensor, columns: int, before: bool) -> Pair:
    """μ and σ² (biased) of each column, float32."""
    places, chosen = x.numel() // columns, tiles()
    tall, wide = chosen.of_map(columns)
    strips, blocks = -(-places // (tall * chosen.strip)), -(-columns // wide)
    parts = empty(x, (2, strips, columns))
    gpu_maps.statistics[(strips * blocks,)](
        x, parts[0], parts[1], places, columns, before, tall, wide, chosen.strip, num_warps=chosen.warps
    )
    return joined(parts, places, tall * chosen.strip)


def joined(parts: Tensor, places: int, length: int) -> Pair:
    """μ and σ² of the columns from means and squared deviations ``(2, strips, K)`` of strips of so many places."""
    _, strips, columns = parts.shape
    mean, variance = empty(parts, (2, columns))
    few, some = min(16, max(8, power(columns))), min(128, max(16, power(strips)))
    gpu_maps.join_statistics[(-(-columns // few),)](
        parts[0], parts[1], mean, variance, places, columns, strips, length, some, few
    )
    return mean, variance


def normalized(x: Tensor, norm: NormOfMap) -> Tensor:
    """What the norm, ReLU and dropout make of the map."""
    y, (tall, wide) = torch.empty_like(x), norm.tile
    gpu_maps.normalize[norm.programs(tall)](
        x, y, *norm.arguments(), norm.places, norm.columns, norm.channels, norm.drops, norm.before, tall, wide,
        num_warps=tiles().warps,
    )  # fmt: skip
    return y


def _kept(places: int, columns: int, channels: int, drops: HashedDrops) -> Tensor:
    """What dropout keeps, as bits ``(N, ⌈K/8⌉)``."""
    width, chosen = -(-columns // 8), tiles()
    kept = torch.empty(places * width, dtype=torch.uint8, device=drops.lows.device)
    arms = sharing_hashes(drops.arms, channels)
    wide = min(chosen.drawn // 8, power(width // arms))
    tall = chosen.drawn // wide
    gpu_maps.draw_keeps[(-(-places // tall) * -(-(width // arms) // wide),)](
        kept, *drops.arguments(), places, columns, channels, arms, tall, wide, num_warps=chosen.warps
    )
    return kept


def gradient_sums(x: Tensor, grad: Tensor, norm: NormOfMap) -> Tensor:
    """∂L/∂γ and ∂L/∂β: ``(2, K)``."""
    (tall, wide), chosen = norm.tile, tiles()
    strips = -(-norm.places // (tall * chosen.strip))
    sums = empty(x, (2, strips, norm.columns))
    gpu_maps.gradient_sums[norm.programs(tall * chosen.strip)](
        x, grad, sums, *norm.arguments(), norm.places, norm.columns, strips, norm.channels, norm.drops, norm.before,
        tall, wide, chosen.strip, num_warps=chosen.warps,
    )  # fmt: skip
    return sums.sum(1)


def map_gradient(
    x: Tensor, grad: Tensor, won: Tensor, sums: Tensor, norm: NormOfMap, pool: int, size: Sequence[int]
) -> Tensor:
    """∂L/∂x of a map of this ``size`` before pooling, from that of the output and `gradient_sums`."""
    (tall, wide), (height, width) = norm.tile, size[2:]
    dx = torch.empty(tuple(size), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    if pool == 2 and (height % 2 or width % 2):
        dx.zero_()
    gpu_maps.map_gradient[norm.programs(tall)](
        x, grad, won, dx, sums, *norm.arguments(), norm.places, norm.columns, height, width, norm.channels, norm.drops,
        norm.before, pool, tall, wide, num_warps=tiles().warps,
    )  # fmt: skip
    return dx


def pooled(x: Tensor) -> tuple[Tensor, Tensor, Pair]:
    """The largest of each 2×2 window, channels-last, which it was, and μ and σ² of its columns."""
    b, k, h, w = x.shape
    y = torch.empty((b, k, h // 2, w // 2), dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    won, chosen = torch.empty(y.numel(), dtype=torch.int8, device=x.device), tiles()
    tall, wide = chosen.of_map(k)
    places = y.numel() // k
    strips = -(-places // (tall * chosen.strip))
    parts = empty(x, (2, strips, k))
    gpu_maps.pool[(strips * -(-k // wide),)](
        x, y, won, parts[0], parts[1], places, k, h, w, tall, wide, chosen.strip, num_warps=chosen.warps
    )
    return y, won, joined(parts, places, tall * chosen.strip)
