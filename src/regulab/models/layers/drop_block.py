"""DropBlock drops whole squares of a map, since neighbours would reveal what a single dropped place held."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regulab.models.layers.dropout import RatedEquation, threshold
from regulab.models.stacking.dropout import StackedRates


def centres(shape: torch.Size, size: int) -> torch.Size:
    """The shape ``(B, C, h, w)`` of the places where a square may begin so that it lies on the map."""
    b, c, height, width = shape
    size = min(size, height, width)
    return torch.Size((b, c, height - size + 1, width - size + 1))


def low(rate: float, shape: torch.Size, size: int) -> int:
    """The int16 value below which a draw begins a square on a map ``(B, C, H, W)``.

    Its probability is γ = rate/size² · H·W/((H − size + 1)·(W − size + 1)), so that about ``rate`` of the map goes.
    """
    height, width = shape[2:]
    size = min(size, height, width)
    begins = centres(shape, size)
    gamma = rate / size**2 * height * width / (begins[2] * begins[3])
    return threshold(min(gamma, 1.0))


def drop_blocks(x: Tensor, draws: Tensor, lows: float | Tensor, size: int, runs: int = 1) -> Tensor:
    """``x`` ``(B, R·C, H, W)`` without squares of ``size``² places, for each run scaled by places ÷ places kept.

    A square begins where a draw lies under ``lows``: of `low`, one number, or ``(R·C, 1, 1)`` with each run's own. On a
    map smaller than ``size`` squares are as large as fit.
    """
    size = min(size, *x.shape[2:])
    begins = (draws < lows).to(torch.float32)
    kept = 1 - F.max_pool2d(F.pad(begins, (size - 1,) * 4), size, stride=1)
    shares: Tensor = (
        kept.unflatten(1, (runs, -1)).mean((0, 2, 3, 4)).clamp(min=1e-6)
    )  # (R,); 0 where nothing is left
    scale = shares.reciprocal().repeat_interleave(x.shape[1] // runs)[:, None, None]
    return (x * (kept * scale)).to(x.dtype)


def maps_of(x: Tensor) -> Tensor:
    """``(B, C, H, W)`` as it is; what has no places ``(B, …)`` as maps of one place ``(B, F, 1, 1)``."""
    return x if x.ndim == 4 else x.flatten(1)[:, :, None, None]


class DropBlock(RatedEquation):
    """Drops squares of a map in training; inference: y = x. ``(B, F)`` is a map of one place: ordinary dropout."""

    def __init__(self, rate: float, size: int) -> None:
        super().__init__(rate)
        self.size = size

    @staticmethod
    def examples() -> tuple[nn.Module, ...]:
        return DropBlock(0.2, 3), DropBlock(0.3, 2)

    def shape_of_draws(self, shape: torch.Size) -> torch.Size:
        return centres(shape_of_maps(shape), self.size)

    def constants(self, rate: float, shape: torch.Size) -> tuple[float, ...]:
        return (low(rate, shape_of_maps(shape), self.size),)

    def applied(self, x: Tensor, draws: Tensor, *constants: float | Tensor) -> Tensor:
        """``(B, C, H, W)`` or ``(B, …)`` to the same shape."""
        (lows,) = constants
        return drop_blocks(maps_of(x), draws, lows, self.size).view_as(x)

    @staticmethod
    def stacked(layers: Sequence[DropBlock]) -> nn.Module:
        return StackedDropBlock(layers)


def shape_of_maps(shape: torch.Size) -> torch.Size:
    """That of `maps_of`."""
    return shape if len(shape) == 4 else torch.Size((shape[0], shape[1:].numel(), 1, 1))


class StackedDropBlock(StackedRates):
    """DropBlock of R runs, each with a rate of its own, of one size: that is part of what makes an architecture."""

    def __init__(self, layers: Sequence[DropBlock]) -> None:
        super().__init__(layers)
        self.size = layers[0].size

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not any(self.rates):
            return x
        runs, maps = len(self.rates), maps_of(x)
        plain = torch.Size((maps.shape[0], maps.shape[1] // runs, *maps.shape[2:]))
        draws = torch.cat(self.drawn(centres(plain, self.size)), 1).to(x.device)
        lows = self.of_each_run([low(rate, plain, self.size) for rate in self.rates], maps, 1)  # (R, 1, 1)
        each = lows.repeat_interleave(plain[1], 0) if len(set(self.rates)) > 1 else lows[:1]
        return drop_blocks(maps, draws, each, self.size, runs).view_as(x)
