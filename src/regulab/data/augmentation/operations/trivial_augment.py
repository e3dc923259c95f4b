"""TrivialAugment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from regulab.data.augmentation.drawing import Draws
from regulab.data.augmentation.fill import Fill, as_text
from regulab.data.augmentation.operation import Operation, for_some
from regulab.data.augmentation.policies import BINS, OPERATIONS, DrawnOperations, Space, by_policy

if TYPE_CHECKING:
    from regulab.data.augmentation.settings import AugmentSettings

WHETHER = "trivial_augment whether"  # a stream
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
    share: float = 1.0  # of the images, which get it

    @classmethod
    def of(cls, settings: AugmentSettings) -> Operation | None:
        share = float(settings.trivial_augment)
        return cls(settings.fill, share) if share else None

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({"trivial_augment": True}, {"trivial_augment": True, "fill": 128.0})

    def label(self) -> str:
        share = "" if self.share == 1 else f" {100 * self.share:g} %"
        return f"TrivialAugment{share}" + (f" (fill {as_text(self.fill)})" if self.fill else "")

    def streams(self) -> Mapping[str, int]:
        """Whether an image gets it is drawn apart, where not all do, so that what it gets stays as it was."""
        return {self.name: self.draws} if self.share == 1 else {self.name: self.draws, WHETHER: 1}

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
        def change(x: Tensor, u: Tensor) -> Tensor:
            return by_policy(x, [self.drawn(u)], self.fill, mean)

        own = draws[self.name]
        return (
            change(x, own) if self.share == 1 else for_some(draws[WHETHER][:, 0] < self.share, x, change, own)
        )

    def drawn(self, u: Tensor) -> DrawnOperations:
        return DrawnOperations(
            WIDE,
            operation=(u[:, 0] * len(OPERATIONS)).floor(),
            magnitude=(u[:, 1] * BINS).floor(),
            sign=torch.where(u[:, 2] < 0.5, -1.0, 1.0),
        )
