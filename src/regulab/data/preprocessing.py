"""From stored bytes to what the net sees: to [0, 1], then to mean 0 and deviation 1 per channel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from regulab.data.dataset import Images

CHUNK = 4096  # images at a time: numpy's bincount widens bytes to 64-bit integers


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """Constants of the training part, applied alike in training, validation and test."""

    mean: Tensor  # (C,) float32, of pixels in [0, 1]
    deviation: Tensor  # (C,) float32, above 0

    def to_unit(self, pixels: Tensor) -> Tensor:
        """uint8 ``(B, H, W, C)`` to float32 ``(B, C, H, W)`` in [0, 1]: v/255. Memory stays channels-last."""
        return pixels.permute(0, 3, 1, 2).to(torch.float32).div_(255)

    def normalize(self, x: Tensor) -> Tensor:
        """(x − mean)/deviation per channel, for ``x`` of shape ``(…, C, H, W)`` in [0, 1]."""
        mean, deviation = self.mean.to(x.device), self.deviation.to(x.device)
        return (x - mean[:, None, None]) / deviation[:, None, None]


def fit(train: Images, normalize: str) -> Preprocessing:
    """The preprocessing whose constants come from ``train`` alone.

    ``dataset``: per channel, over all images and pixels, the mean and the deviation √(Σ(x − mean)²/n) of
    x = v/255, in float64 from exact counts of the 256 values; the deviation of a constant channel is
    taken as 1. ``none``: mean 0 and deviation 1.
    """
    channels = train.pixels.shape[-1]
    if normalize == "none":
        return Preprocessing(torch.zeros(channels), torch.ones(channels))
    assert normalize == "dataset", normalize
    counts = np.zeros((channels, 256), np.int64)
    for start in range(0, len(train), CHUNK):
        chunk = train.pixels[start : start + CHUNK]
        for channel in range(channels):
            counts[channel] += np.bincount(chunk[..., channel].ravel(), minlength=256)
    values = np.arange(256)
    total = counts.sum(1)
    mean = counts @ values / total / 255
    squares = (values / 255 - mean[:, None]) ** 2
    deviation = np.sqrt((counts * squares).sum(1) / total)
    deviation[deviation == 0] = 1
    return Preprocessing(
        torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(deviation.astype(np.float32))
    )
