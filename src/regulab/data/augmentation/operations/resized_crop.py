"""Random parts of an image, brought to its size."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor

from regulab.data.augmentation.drawing import Draws
from regulab.data.augmentation.operation import Operation
from regulab.data.augmentation.ranges import uniform
from regulab.values import Part
from regulab.values.complaints import Refusal

TRIES = 10
Share = Annotated[float, Field(gt=0, le=1)]
Ratio = Annotated[float, Field(gt=0, le=100)]


class ResizedCrop(Part, Operation):
    """Resized crop: a window of random area and shape is cut from an image and brought to the image's own size.

    A share of the area is drawn uniformly from ``scale`` and width/height log-uniformly from ``ratio``; the sides
    are rounded to whole pixels, and the first of ten tries that fits is placed uniformly. Where none fits it is the
    middle, of the nearest ratio allowed. Bilinear, within the window alone; equals ``torch.nn.functional.interpolate``
    of the window to 1e-5. Source: Szegedy et al. 2015, section 6; torchvision's RandomResizedCrop.
    """

    name: ClassVar[str] = "resized_crop"
    source: ClassVar[str] = "Szegedy et al. 2015"
    draws: ClassVar[int] = 2 * TRIES + 2

    scale: tuple[Share, Share] = Field(
        default=(0.08, 1.0), description="Of which the share of the image's area is drawn."
    )
    ratio: tuple[Ratio, Ratio] = Field(
        default=(0.75, 1.333), description="Of which the window's width over its height is drawn."
    )

    @field_validator("scale", "ratio")
    @classmethod
    def _from_low_to_high(cls, value: tuple[float, float]) -> tuple[float, float]:
        return from_low_to_high(value)

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({"resized_crop": {}}, {"resized_crop": {"scale": [0.5, 0.9], "ratio": [0.5, 3]}})

    def label(self) -> str:
        low, high = (f"{100 * share:g}" for share in self.scale)
        return f"resized crop {low}–{high} %"

    def apply(self, x: Tensor, draws: Draws, mean: Tensor) -> Tensor:
        height, width = x.shape[2:]
        top, left, rows, columns = windows(draws[self.name], self.scale, self.ratio, height, width)
        y = _positions(top, rows, height)[:, :, None].expand(-1, -1, width)
        x_ = _positions(left, columns, width)[:, None].expand(-1, height, -1)
        grid = torch.stack((x_, y), -1)
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def windows(
    u: Tensor, scale: tuple[float, float], ratio: tuple[float, float], height: int, width: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Top, left, rows and columns of each image's window, whole numbers ``(B,)``, from draws ``(B, 22)``."""
    area = uniform(u[:, :TRIES], *scale) * (height * width)
    shape = torch.exp(uniform(u[:, TRIES : 2 * TRIES], *map(math.log, ratio)))
    columns, rows = (area * shape).sqrt().round(), (area / shape).sqrt().round()
    fits = (columns >= 1) & (columns <= width) & (rows >= 1) & (rows <= height)
    first = fits.float().argmax(1, keepdim=True)
    found = fits.any(1)
    fallback_rows, fallback_columns = _fallback(ratio, height, width)
    rows = torch.where(found, rows.gather(1, first)[:, 0], fallback_rows)
    columns = torch.where(found, columns.gather(1, first)[:, 0], fallback_columns)
    top = torch.where(found, (u[:, -2] * (height - rows + 1)).floor(), ((height - rows) / 2).floor())
    left = torch.where(found, (u[:, -1] * (width - columns + 1)).floor(), ((width - columns) / 2).floor())
    return top, left, rows, columns


def _fallback(ratio: tuple[float, float], height: int, width: int) -> tuple[int, int]:
    if width / height < ratio[0]:
        return max(1, round(width / ratio[0])), width
    if width / height > ratio[1]:
        return height, max(1, round(height * ratio[1]))
    return height, width


def _positions(start: Tensor, length: Tensor, size: int) -> Tensor:
    """``(B, size)``: where the pixels of an axis are taken from, within the window, in `grid_sample` coordinates."""
    pixels = (torch.arange(size, device=start.device) + 0.5) * (length / size)[:, None] - 0.5
    inside = start[:, None] + pixels.clamp(min=0).minimum(length[:, None] - 1)
    return (2 * inside + 1) / size - 1


def from_low_to_high(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise Refusal(
            "from a higher number to a lower one",
            got=list(value),
            cure=f"write [{value[1]:g}, {value[0]:g}]",
        )
    return value
