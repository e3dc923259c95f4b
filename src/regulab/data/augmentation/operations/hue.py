"""Hue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from regulab.data.augmentation.drawing import Draws
from regulab.data.augmentation.operation import Operation, needs_colour
from regulab.data.augmentation.ranges import Range, either_way, limits, uniform
from regulab.values.complaints import Refusal

if TYPE_CHECKING:
    from regulab.data.augmentation.settings import AugmentSettings


@dataclass(frozen=True)
class Hue(Operation):
    """Hue: all colours of an image go round the colour circle by its random turn.

    In HSV the hue H becomes (H + t) mod 1 and saturation and value stay; t is uniform in [−h, h], or in the range
    given, in turns: 0.5 is the opposite colour. For images in colour. Equals Python's colorsys to 1e-5, and
    torchvision's adjust_hue. Source: torchvision's ColorJitter.
    """

    name: ClassVar[str] = "hue"
    source: ClassVar[str] = "torchvision's ColorJitter"

    turn: Range

    @classmethod
    def of(cls, settings: AugmentSettings) -> Operation | None:
        return cls(settings.hue) if settings.hue else None

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({"hue": 0.2}, {"hue": [-0.5, -0.1]})

    def label(self) -> str:
        return f"hue {either_way(self.turn)}"

    def refusal(self, channels: int, height: int, width: int) -> Refusal | None:
        return needs_colour(self.name, channels)

    def apply(self, x: Tensor, draws: Draws, mean: Tensor) -> Tensor:
        turn = uniform(draws[self.name][:, 0], *limits(self.turn, 0.0))
        return turned(x, turn)


def turned(x: Tensor, turn: Tensor) -> Tensor:
    """RGB images ``(B, 3, H, W)`` with their hues turned by ``(B,)``.

    With V = max, C = max − min and the hue H in sixths, channel n of (5, 3, 1) is V − C·min(k, 4 − k, 1), cut below at
    0, k = (n + H) mod 6.
    """
    red, green, blue = x.unbind(1)
    value, least = x.amax(1), x.amin(1)
    chroma = value - least
    divisor = torch.where(chroma > 0, chroma, 1)
    of_red = (green - blue) / divisor
    of_green = 2 + (blue - red) / divisor
    of_blue = 4 + (red - green) / divisor
    hue = torch.where(value == red, of_red, torch.where(value == green, of_green, of_blue))
    hue = hue + 6 * turn[:, None, None]
    channels = []
    for n in (5, 3, 1):
        k = (n + hue).remainder_(6)
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp_(0, 1))
    return torch.stack(channels, 1)
