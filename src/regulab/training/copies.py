"""Several passes of every image in one step, side by side in one larger batch, each with draws of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from regulab.models.hashed_draws import Hashed, HashedDraws
from regulab.models.layers.draws import RandomLayer

Drawn = TypeVar("Drawn", bound=Sequence[Tensor] | Tensor)


def copied(tensor: Tensor, count: int) -> Tensor:
    """``(B, …)`` as ``(count·B, …)``: the whole batch, then the whole batch again."""
    return tensor if count == 1 else torch.cat([tensor] * count)


class Copies:
    """How often a step passes each image of its batch, in a network or in a stack of networks like it."""

    def __init__(self, count: int, network: nn.Module) -> None:
        self._count = count
        layers = network.named_modules()
        self._for_all = {name for name, one in layers if isinstance(one, RandomLayer) and not one.by_image}

    def of(self, tensor: Tensor) -> Tensor:
        return copied(tensor, self._count)

    def draws(self, draw: Callable[[str, torch.Size], Drawn]) -> Callable[[str, torch.Size], Drawn]:
        """Draws of the larger batch from a source for one: the first copy's are those of arms that have but one.

        So arms of a seed stay paired; the k-th copy has streams of its own, named ``LAYER copy k``. What a layer draws
        for all images of a batch alike, such as for its weights, is that of other arms, too.
        """
        return draw if self._count == 1 else lambda layer, shape: self._drawn(draw, layer, shape)

    def hashed(self, draws: object) -> Callable[[str, torch.Size], Hashed] | None:
        """What kernels draw for themselves, if the source hashes; not where an image passes twice."""
        return draws.hashed if isinstance(draws, HashedDraws) and self._count == 1 else None

    def _drawn(self, draw: Callable[[str, torch.Size], Drawn], layer: str, shape: torch.Size) -> Drawn:
        if layer in self._for_all or shape[0] % self._count:
            return draw(layer, shape)
        part = torch.Size((shape[0] // self._count, *shape[1:]))
        names = [layer, *(f"{layer} copy {k}" for k in range(2, self._count + 1))]
        return _joined([draw(name, part) for name in names], len(shape))


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
