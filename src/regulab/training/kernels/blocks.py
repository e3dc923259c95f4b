"""A block of a fleet as the compiled kernels read it: shapes, pointers, dropout's draws."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from regulab.models.layers.dropout import inverse_keep, threshold

IMAGE_CHANNELS = (1, 3)  # of images whose convolution has a kernel of its own, where they get no gradient


class Shape(ctypes.Structure):
    """The map before pooling, and how it divides among runs; ``inputs`` 0 but for a block with its convolution.

    ``before`` 1 where ReLU stands before the norm; ``padding`` of the convolution, 0 or 1.
    """

    _fields_ = [
        (name, ctypes.c_int64)
        for name in ("images", "height", "width", "runs", "channels", "pool", "inputs", "before", "padding")
    ]

    @property
    def pooled(self) -> tuple[int, int, int, int]:
        """``(B, R·C, H, W)`` of what the block gives."""
        return self.images, self.runs * self.channels, self.height // self.pool, self.width // self.pool


@dataclass(frozen=True)
class Drops:
    """Dropout of R runs: for each the int16 draw of its seed ``(B, C, H, W)``, channels-last, and its rate."""

    draws: Sequence[Tensor]
    rates: Sequence[float]


POINTERS = (
    *("weight", "bias", "gamma", "beta", "mean", "variance", "running_mean", "running_variance"),
    *("p", "won", "draws", "low", "scale"),
)
GRADIENTS = ("dweight", "dbias", "dgamma", "dbeta")


class BlockOf(ctypes.Structure):
    """What vectors.h calls a block."""

    _fields_ = [
        ("shape", Shape),
        ("image", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in (*POINTERS, *GRADIENTS)),
        *((name, ctypes.c_double) for name in ("eps", "momentum")),
    ]

    def point(self, **tensors: Tensor | None) -> None:
        """Sets pointers to tensors, which the caller keeps alive."""
        for name, tensor in tensors.items():
            setattr(self, name, None if tensor is None else tensor.data_ptr())

    def drop(self, drops: Drops | None) -> Any:
        """Sets what dropout needs, nothing without ``drops``; returns what must live as long as the block is used."""
        runs = self.shape.runs
        rates = (0.0,) * runs if drops is None else tuple(drops.rates)
        scale = scales(rates, self.shape.channels)
        self.scale = scale.data_ptr()
        if drops is None:
            return scale
        draws = (ctypes.c_void_p * runs)(*(draw.data_ptr() for draw in drops.draws))
        low = thresholds(rates)
        self.draws, self.low = ctypes.addressof(draws), ctypes.addressof(low)
        return scale, draws, low, drops


@lru_cache
def scales(rates: tuple[float, ...], channels: int) -> Tensor:
    """What each of all channels is multiplied with where dropout keeps it."""
    factors = [inverse_keep(rate) for rate in rates]
    # float32 whatever torch's default is
    return torch.tensor(factors, dtype=torch.float32).repeat_interleave(channels)


@lru_cache
def thresholds(rates: tuple[float, ...]) -> Any:
    """Below which draws each run drops."""
    return (ctypes.c_int16 * len(rates))(*(threshold(rate) for rate in rates))


def pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())
