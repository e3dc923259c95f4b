"""From stored bytes to what the net sees: to [0, 1], then to mean 0 and deviation 1 per channel or per pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regulab.config.images import ChannelConstants
from regulab.data.dataset import Images
from regulab.data.stored_pixels import chunks
from regulab.errors import UserError


@dataclass(frozen=True, eq=False)
class Preprocessing:
    """Constants of the training part, applied alike in training, validation and test."""

    mean: Tensor  # (C, 1, 1) or (C, H, W) float32, of pixels in [0, 1]
    deviation: Tensor  # as the mean, above 0

    def to(self, device: torch.device) -> Preprocessing:
        """The same with its constants on a device."""
        return Preprocessing(self.mean.to(device), self.deviation.to(device))

    def to_unit(self, pixels: Tensor) -> Tensor:
        """uint8 ``(B, H, W, C)`` to float32 ``(B, C, H, W)`` in [0, 1]: v/255. Memory stays channels-last."""
        return pixels.permute(0, 3, 1, 2).to(torch.float32).div_(255)

    def normalize(self, x: Tensor) -> Tensor:
        """(x − mean)/deviation, for ``x`` of shape ``(…, C, H, W)`` in [0, 1]."""
        return (x - self.mean.to(x.device)) / self.deviation.to(x.device)


IMAGENET = ChannelConstants(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))  # red, green, blue


def fit(train: Images, normalize: str | ChannelConstants) -> Preprocessing:
    """The preprocessing whose constants come from ``train`` alone, or are given.

    ``dataset``: per channel, over all images and pixels, the mean and the deviation √(Σ(x − mean)²/n) of
    x = v/255, in float64 from exact counts of the 256 values. ``pixel``: the same over all images for every pixel and
    channel apart. The deviation of a constant channel or pixel is taken as 1, so it becomes 0 throughout training.
    ``none``: mean 0 and deviation 1. ``imagenet``: the constants of red, green and blue that weights trained on
    ImageNet expect (as torchvision and timm have them). Raises `UserError` where given constants are for another number
    of channels: grey images have no part of three that would be right.
    """
    channels = train.pixels.shape[-1]
    if normalize == "imagenet" or isinstance(normalize, ChannelConstants):
        return _given(normalize, channels)
    if normalize == "none":
        return Preprocessing(torch.zeros(channels, 1, 1), torch.ones(channels, 1, 1))
    if normalize == "pixel":
        return _per_pixel(train)
    assert normalize == "dataset", normalize
    counts = np.zeros((channels, 256), np.int64)
    for chunk in chunks(train.pixels):
        for channel in range(channels):
            counts[channel] += np.bincount(chunk[..., channel].ravel(), minlength=256)
    values = np.arange(256)
    total = counts.sum(1)
    mean = counts @ values / total / 255
    squares = (values / 255 - mean[:, None]) ** 2
    deviation = np.sqrt((counts * squares).sum(1) / total)
    return _constants(mean[:, None, None], deviation[:, None, None])


def _given(normalize: str | ChannelConstants, channels: int) -> Preprocessing:
    chosen = normalize if isinstance(normalize, ChannelConstants) else IMAGENET
    for key, values in (("mean", chosen.mean), ("std", chosen.std)):
        if len(values) not in (1, channels):
            imagenet = normalize == "imagenet"
            raise UserError(
                f"the images have {channels} channel{'s' * (channels > 1)}",
                got=normalize if imagenet else list(values),
                expected="colour images"
                if imagenet
                else f"1 or {channels} values"
                if channels > 1
                else "1 value",
                where="data.normalize" if imagenet else f"data.normalize.{key}",
                cure="write normalize: dataset, or {mean: [0.449], std: [0.226]}" if imagenet else "",
            )
    mean, deviation = (np.resize(values, channels)[:, None, None] for values in (chosen.mean, chosen.std))
    return _constants(mean, deviation)


def _per_pixel(train: Images) -> Preprocessing:
    """From exact sums of v and v² over the images; the variance is (n·Σv² − (Σv)²)/n², without rounding to its root."""
    total = np.zeros(train.pixels.shape[1:], np.int64)
    squares = np.zeros_like(total)
    for chunk in chunks(train.pixels):
        wide = chunk.astype(np.int64)
        total += wide.sum(0)
        squares += (wide**2).sum(0)
    n = len(train)
    deviation = np.sqrt(n * squares - total**2) / n / 255
    return _constants(np.moveaxis(total / n / 255, -1, 0), np.moveaxis(deviation, -1, 0))


def _constants(mean: NDArray[np.float64], deviation: NDArray[np.float64]) -> Preprocessing:
    deviation = np.where(deviation == 0, 1, deviation)
    return Preprocessing(
        torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(deviation.astype(np.float32))
    )
