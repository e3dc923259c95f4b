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
    # Masks as numbers: `torch.where` is not vectorized on a processor, and this takes half as long (torch 2.13).
    is_red, is_green = torch.eq(value, red).float(), torch.eq(value, green).float()
    across = torch.lerp(torch.lerp(red - green, blue - red, is_green), green - blue, is_red)
    start = is_green.mul_(-2).add_(4)
    start.addcmul_(start, is_red, value=-1)  # 0 of red, 2 of green, 4 of blue
    sixths = across.div_(chroma.clamp(min=1e-12)).add_(start).add_(6 * turn[:, None, None])
    sixths.sub_((sixths / 6).floor_(), alpha=6)
    result = torch.empty_like(x)
    to_red, to_green, to_blue = result.unbind(1)
    torch.sub(sixths, 3, out=to_red).abs_().sub_(1)
    torch.sub(sixths, 2, out=to_green).abs_().neg_().add_(2)
    torch.sub(sixths, 4, out=to_blue).abs_().neg_().add_(2)
    return result.clamp_(0, 1).mul_(chroma[:, None]).add_(least[:, None])
