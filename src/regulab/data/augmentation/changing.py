"""A batch of images changed as settings ask for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile

import torch
from torch import Tensor

from regulab.data.augmentation.drawing import Draws
from regulab.data.augmentation.operation import Operation
from regulab.data.augmentation.settings import AugmentSettings

VALUES = 200_000  # pixels times channels that a processor changes at a time, so that they stay in its cache


def augment(x: Tensor, draws: Draws, operations: Sequence[Operation], mean: Tensor) -> Tensor:
    """Images ``(B, C, H, W)`` in [0, 1], each changed by its rows of ``draws``: one operation after the other.

    This stands before normalization. ``mean`` ``(C, 1, 1)`` is that of the training images, of which `fill` may ask.
    Returns ``x`` itself where there is no operation.
    """
    whole = list(takewhile(lambda one: not one.in_parts(), operations))
    for operation in whole:
        x = operation.apply(x, draws, mean)
    rest = operations[len(whole) :]
    images = max(1, VALUES // x[0].numel()) if x.device.type == "cpu" else len(x)
    if not rest:
        return x
    parts = [
        _changed(part, _rows(draws, k * images, images), rest, mean) for k, part in enumerate(x.split(images))
    ]
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _changed(x: Tensor, draws: Draws, operations: Sequence[Operation], mean: Tensor) -> Tensor:
    for operation in operations:
        x = operation.apply(x, draws, mean)
    return x


def _rows(draws: Draws, start: int, count: int) -> Draws:
    return {stream: table[start : start + count] for stream, table in draws.items()}


def columns_of(several: Iterable[AugmentSettings | None]) -> dict[str, int]:
    """The streams that some settings draw from, and how many columns each has."""
    found: dict[str, int] = {}
    for settings in several:
        for operation in settings.operations() if settings is not None else ():
            found |= operation.streams()
    return found


def channel_means(parts: Iterable[Tensor]) -> Tensor:
    """``(C, 1, 1)``: the mean of v/255 over uint8 pixels, which come in parts ``(N, H, W, C)``, from exact sums."""
    total, count = torch.zeros((), dtype=torch.int64), 0
    for pixels in parts:
        total = total.to(pixels.device) + pixels.sum((0, 1, 2), dtype=torch.int64)
        count += pixels.shape[:-1].numel()
    return (total.double() / count / 255).float()[:, None, None]
