"""DropBlock drops whole squares of a map, since neighbours would reveal what a single dropped place held."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from regulab.models.layers.draws import UNBOUND, RandomLayer, StackedRandomLayer
from regulab.models.layers.dropout import threshold


def centres(shape: torch.Size, size: int) -> torch.Size:
    """The shape ``(B, C, h, w)`` of the places where a square may begin so that it lies on the map."""
    b, c, height, width = shape
    size = min(size, height, width)
    return torch.Size((b, c, height - size + 1, width - size + 1))


def drop_blocks(x: Tensor, draws: Tensor, rate: float, size: int, runs: int = 1) -> Tensor:
    """``x`` ``(B, R·C, H, W)`` without squares of ``size``² places, for each run scaled by places ÷ places kept.

    A square begins where a draw lies under γ = rate/size² · H·W/((H − size + 1)·(W − size + 1)), so that about ``rate``
    of the map goes. On a map smaller than ``size`` squares are as large as fit.
    """
    height, width = x.shape[2:]
    size = min(size, height, width)
    gamma = rate / size**2 * height * width / (draws.shape[2] * draws.shape[3])
    begins = (draws < threshold(min(gamma, 1.0))).to(torch.float32)
    kept = 1 - F.max_pool2d(F.pad(begins, (size - 1,) * 4), size, stride=1)
    shares: Tensor = (
        kept.unflatten(1, (runs, -1)).mean((0, 2, 3, 4)).clamp(min=1e-6)
    )  # (R,); 0 where nothing is left
    scale = shares.reciprocal().repeat_interleave(x.shape[1] // runs)[:, None, None]
    return (x * (kept * scale)).to(x.dtype)


class DropBlock(RandomLayer):
    """Drops squares of a map in training; inference: y = x. ``(B, F)`` is a map of one place: ordinary dropout."""

    def __init__(self, rate: float, size: int) -> None:
        super().__init__()
        self.rate, self.size = rate, size

    @staticmethod
    def examples() -> tuple[nn.Module, ...]:
        return DropBlock(0.2, 3), DropBlock(0.3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` or ``(B, F)`` to the same shape."""
        if not self.training or self.rate == 0:
            return x
        assert self.draw is not None, UNBOUND
        maps = x if x.ndim == 4 else x[:, :, None, None]
        draws = self.draw(centres(maps.shape, self.size)).to(x.device)
        return drop_blocks(maps, draws, self.rate, self.size).view_as(x)

    @staticmethod
    def stacked(layers: Sequence[DropBlock]) -> nn.Module:
        return StackedDropBlock(layers)


class StackedDropBlock(StackedRandomLayer):
    """DropBlock of R runs, of one rate and size: they are part of what makes an architecture."""

    def __init__(self, layers: Sequence[DropBlock]) -> None:
        super().__init__(len(layers))
        self.rate, self.size = layers[0].rate, layers[0].size

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        runs = len(self.seed_of)
        maps = x if x.ndim == 4 else x[:, :, None, None]
        shape = centres(maps.shape, self.size)
        plain = torch.Size((shape[0], shape[1] // runs, *shape[2:]))
        draws = torch.cat(self.drawn(plain), 1).to(x.device)
        return drop_blocks(maps, draws, self.rate, self.size, runs).view_as(x)
