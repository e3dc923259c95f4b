"""TrivialAugment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from regulab.data.augmentation.drawing import Draws
from regulab.data.augmentation.fill import Fill, as_text
from regulab.data.augmentation.operation import Operation
from regulab.data.augmentation.policies import BINS, OPERATIONS, DrawnOperations, Space, by_policy

if TYPE_CHECKING:
    from regulab.data.augmentation.settings import AugmentSettings

WIDE = Space(shear=0.99, shift=32.0, of_size=False, rotate=135.0, factor=0.99, bits=6)


@dataclass(frozen=True)
class TrivialAugment(Operation):
    """TrivialAugment (wide): one operation of fourteen for each image, at one magnitude of thirty-one.

    All uniform: identity, shear along x or y (tangent to 0.99), shift along x or y (to 32 pixels, whatever the size of
    the images), rotation (to 135°), brightness, colour, contrast, sharpness (factors 1 ± 0.99), posterize (8 to 2
    bits), solarize (from level 255 to 0), autocontrast, equalize; those with a sign have either. Images become levels
    first; the nearest pixels are taken; what comes from outside is ``fill``. Nothing to tune. Equals Pillow to one
    level, and where pixels move, but for those half-way between two. On grey images colour changes nothing.
    Source: Müller & Hutter 2021, "TrivialAugment: tuning-free yet state-of-the-art data augmentation".
    """

    name: ClassVar[str] = "trivial_augment"
    source: ClassVar[str] = "Müller & Hutter 2021"
    draws: ClassVar[int] = 3

    fill: Fill = 0.0

    @classmethod
    def of(cls, settings: AugmentSettings) -> Operation | None:
        return cls(settings.fill) if settings.trivial_augment else None

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({"trivial_augment": True}, {"trivial_augment": True, "fill": 128.0})

    def label(self) -> str:
        return "TrivialAugment" + (f" (fill {as_text(self.fill)})" if self.fill else "")

    def fills(self) -> tuple[object, ...]:
        return (self.fill,)

    def notes(self, height: int, width: int) -> tuple[str, ...]:
        if min(height, width) >= WIDE.shift:
            return ()
        return (
            f"TrivialAugment shifts by up to {WIDE.shift:g} pixels whatever the size: of images of {height} × {width} "
            "some are shifted out of sight, and train as nothing but fill",
        )

    def apply(self, x: Tensor, draws: Draws, mean: Tensor) -> Tensor:
        return by_policy(x, [self.drawn(draws[self.name])], self.fill, mean)

    def drawn(self, u: Tensor) -> DrawnOperations:
        return DrawnOperations(
            WIDE,
            operation=(u[:, 0] * len(OPERATIONS)).floor(),
            magnitude=(u[:, 1] * BINS).floor(),
            sign=torch.where(u[:, 2] < 0.5, -1.0, 1.0),
        )
