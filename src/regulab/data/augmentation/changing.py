"""A batch of images changed as settings ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby

import torch
from torch import Tensor

from regulab.data.augmentation.drawing import Draws
from regulab.data.augmentation.operation import Operation
from regulab.data.augmentation.settings import AugmentSettings

VALUES = 200_000  # pixels times channels: so many a processor keeps in its cache


def augment(x: Tensor, draws: Draws, operations: Sequence[Operation], mean: Tensor) -> Tensor:
    """Images ``(B, C, H, W)`` in [0, 1], each changed by its rows of ``draws``: one operation after the other.

    This stands before normalization. ``mean`` ``(C, 1, 1)`` is that of the training images, of which `fill` may ask.
    Returns ``x`` itself where there is no operation.
    """
    on_processor = x.device.type == "cpu"
    for in_parts, several in groupby(operations, lambda one: one.in_parts() and on_processor):
        change = partial(_one_after_the_other, operations=list(several), mean=mean)
        x = _in_parts(x, draws, change) if in_parts else change(x, draws)
    return x


def _one_after_the_other(x: Tensor, draws: Draws, operations: Sequence[Operation], mean: Tensor) -> Tensor:
    for operation in operations:
        x = operation.apply(x, draws, mean)
    return x


def _in_parts(x: Tensor, draws: Draws, change: Callable[[Tensor, Draws], Tensor]) -> Tensor:
    images = max(1, VALUES // x[0].numel())
    parts = []
    for start, part in zip(range(0, len(x), images), x.split(images), strict=True):
        rows = {stream: table[start : start + images] for stream, table in draws.items()}
        parts.append(change(part.contiguous(), rows))
    return torch.cat(parts)


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
