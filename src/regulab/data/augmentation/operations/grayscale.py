"""Colour taken away."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from regulab.data.augmentation.colours import grey
from regulab.data.augmentation.operation import ByChance, needs_colour
from regulab.values.complaints import Refusal


class Grayscale(ByChance):
    """Grayscale: some images lose their colour.

    With the probability given all channels become 0.299·R + 0.587·G + 0.114·B. For images in colour. Equals Pillow's
    ``convert("L")`` to half a level, which that rounds. Source: torchvision's RandomGrayscale.
    """

    name: ClassVar[str] = "grayscale"
    source: ClassVar[str] = "torchvision's RandomGrayscale"

    def refusal(self, channels: int, height: int, width: int) -> Refusal | None:
        return needs_colour(self.name, channels)

    def changed(self, x: Tensor) -> Tensor:
        return grey(x).expand_as(x)
