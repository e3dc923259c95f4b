"""Several passes of every image in one step, side by side in one larger batch, each with draws of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

Drawn = TypeVar("Drawn", bound=Sequence[Tensor] | Tensor)


def copied(tensor: Tensor, copies: int) -> Tensor:
    """``(B, …)`` as ``(copies·B, …)``: the whole batch, then the whole batch again."""
    return tensor if copies == 1 else torch.cat([tensor] * copies)


def draws_of_copies(
    draw: Callable[[str, torch.Size], Drawn], copies: int
) -> Callable[[str, torch.Size], Drawn]:
    """Draws of a larger batch from a source for one batch: the first copy's are those of arms that have but one.

    So arms of a seed stay paired; the k-th copy has streams of its own, named ``LAYER copy k``. What a layer draws for
    other than the images of its batch, along its first axis, is cut in the same way: as independent, and as uniform.
    """
    if copies == 1:
        return draw

    def drawn(layer: str, shape: torch.Size) -> Drawn:
        if shape[0] % copies:
            return draw(layer, shape)
        part = torch.Size((shape[0] // copies, *shape[1:]))
        names = [layer, *(f"{layer} copy {k}" for k in range(2, copies + 1))]
        return _joined([draw(name, part) for name in names], len(shape))

    return drawn


def _joined(parts: list[Drawn], axes: int) -> Drawn:
    """One after the other along the images, of each seed where there are several."""
    if isinstance(parts[0], Tensor):
        # Draws of several seeds in one tensor have an axis for them before all others.
        return _along(parts, parts[0].ndim - axes, axes)  # type: ignore[arg-type,return-value]
    return [_along(of_seed, 0, axes) for of_seed in zip(*parts, strict=True)]  # type: ignore[return-value]


def _along(parts: Sequence[Tensor], axis: int, axes: int) -> Tensor:
    """Joined in the memory that draws of maps have, channels last."""
    if axes != 4:
        return torch.cat(list(parts), axis)
    return torch.cat([part.movedim(-3, -1) for part in parts], axis).movedim(-1, -3)
