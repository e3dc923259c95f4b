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

    def in_parts(self) -> bool:
        return True

    def apply(self, x: Tensor, draws: Draws, mean: Tensor) -> Tensor:
        turn = uniform(draws[self.name][:, 0], *limits(self.turn, 0.0))
        return turned(x, turn)


def turned(x: Tensor, turn: Tensor) -> Tensor:
    """RGB images ``(B, 3, H, W)`` with their hues turned by ``(B,)``.

    With the hue H in sixths, V = max and C = max − min, the channels are V − C + C·clamp(t, 0, 1), t being
    |H − 3| − 1 for red, 2 − |H − 2| for green and 2 − |H − 4| for blue.
    """
    red, green, blue = x.unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    least = torch.minimum(torch.minimum(red, green), blue)
    chroma = value - least
    is_red, is_green = value == red, value == green
    across = torch.where(is_red, green - blue, torch.where(is_green, blue - red, red - green))
    start = torch.where(is_red, 0.0, torch.where(is_green, 2.0, 4.0))
    sixths = across.div_(chroma.clamp(min=1e-12)).add_(start).add_(6 * turn[:, None, None]).remainder_(6)
    shares = (
        (sixths - 3).abs_().sub_(1),
        (sixths - 2).abs_().neg_().add_(2),
        (sixths - 4).abs_().neg_().add_(2),
    )
    return torch.stack([share.clamp_(0, 1).mul_(chroma).add_(least) for share in shares], 1)
