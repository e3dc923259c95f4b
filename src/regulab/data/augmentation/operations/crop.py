"""Random crops of an image with a border added: it moves by whole pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from regulab.data.augmentation.drawing import Draws
from regulab.data.augmentation.fill import (
    EDGE,
    MEAN,
    REFLECT,
    Fill,
    Outside,
    as_text,
    colour,
    colour_refusal,
    take,
)
from regulab.data.augmentation.operation import Operation
from regulab.values import Part
from regulab.values.complaints import Refusal

if TYPE_CHECKING:
    from regulab.data.augmentation.settings import AugmentSettings


class PaddedCrop(Part, Operation):
    """Crop with padding: a border is added to an image, and a window of the image's own size is cut from it.

    The offset is uniform among the (2·padding + 1)² whole numbers of pixels, so nothing is resampled. The border is
    ``fill``. Equals padding and slicing to the bit. Source: He et al. 2016, section 4.2; torchvision's RandomCrop.
    """

    name: ClassVar[str] = "crop"
    source: ClassVar[str] = "He et al. 2016"
    draws: ClassVar[int] = 2

    padding: Annotated[int, Field(ge=1, le=10_000)] = Field(
        description="Pixels on each side; fewer than the image has."
    )
    fill: Outside | None = Field(
        default=None,
        description="The border: a level, [r, g, b], `mean`, `reflect` or `edge`; null takes `augment.fill`.",
    )

    @classmethod
    def of(cls, settings: AugmentSettings) -> Operation | None:
        crop = settings.crop
        if crop is None or crop.fill is not None:
            return crop
        return crop.model_copy(update={"fill": settings.fill})

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return (
            {"crop": {"padding": 2}},
            *({"crop": {"padding": 3, "fill": f}} for f in (MEAN, REFLECT, EDGE)),
        )

    @classmethod
    def samples(cls, side: int) -> tuple[dict[str, Any], ...]:
        return ({"crop": max(1, side // 8)}, {"crop": {"padding": max(1, side // 8), "fill": REFLECT}})

    def label(self) -> str:
        own = f", {as_text(self.fill)}" if self.fill else ""
        return f"crop (padding {self.padding}{own})"

    def fills(self) -> tuple[object, ...]:
        return (self.fill,)

    def refusal(self, channels: int, height: int, width: int) -> Refusal | None:
        if self.padding >= min(height, width):
            return Refusal(
                f"a padding as large as the images, which are {height} × {width}",
                key="crop.padding",
                got=self.padding,
                expected=f"under {min(height, width)}",
            )
        return colour_refusal("crop.fill", self.fill or 0.0, channels)

    def apply(self, x: Tensor, draws: Draws, mean: Tensor) -> Tensor:
        height, width = x.shape[2:]
        offsets = (draws[self.name] * (2 * self.padding + 1)).long() - self.padding
        rows = torch.arange(height, device=x.device) + offsets[:, :1]
        columns = torch.arange(width, device=x.device) + offsets[:, 1:]
        fill: Fill = self.fill or 0.0
        return take(x, rows[:, :, None], columns[:, None], fill, colour(fill, x, mean))
