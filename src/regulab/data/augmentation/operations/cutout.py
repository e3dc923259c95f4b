"""A square cut out."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from regulab.data.augmentation.drawing import Draws
from regulab.data.augmentation.fill import MEAN, Colour, Fill, as_text, colour, colour_refusal
from regulab.data.augmentation.operation import Operation
from regulab.values import Part
from regulab.values.complaints import Refusal


class CutoutFields(Part):
    """What is said of a cutout."""

    size: Annotated[int, Field(ge=1, le=10_000)] = Field(description="Pixels a side.")
    fill: Colour = Field(
        default=MEAN, description="A level from 0 to 255, [r, g, b], or `mean`, that of the training images."
    )


class Cutout(CutoutFields, Operation):
    """Cutout: a square at a random place of every image is filled.

    Its centre is uniform over the pixels, so that part of the square may lie outside: rows y − ⌊size/2⌋ to
    y − ⌊size/2⌋ + size − 1, columns likewise. Equals slicing to the bit. Source: DeVries & Taylor 2017, "Improved
    regularization of convolutional neural networks with cutout", whose fill is 0 after normalization, the mean.
    """

    name: ClassVar[str] = "cutout"
    source: ClassVar[str] = "DeVries & Taylor 2017"
    draws: ClassVar[int] = 2

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({"cutout": {"size": 3}}, {"cutout": {"size": 4, "fill": 255.0}})

    @classmethod
    def samples(cls, side: int) -> tuple[dict[str, Any], ...]:
        return ({"cutout": max(1, side // 3)},)

    def label(self) -> str:
        own = "" if self.fill == MEAN else f" ({as_text(self.fill)})"
        return f"cutout {self.size} px{own}"

    def fills(self) -> tuple[object, ...]:
        return (self.fill,)

    def refusal(self, channels: int, height: int, width: int) -> Refusal | None:
        if self.size >= 2 * min(height, width):
            return Refusal(
                f"covers the images, which are {height} × {width}, wherever it lies",
                key="cutout.size",
                got=self.size,
                expected=f"under {2 * min(height, width)}",
            )
        return colour_refusal("cutout.fill", self.fill, channels)

    def apply(self, x: Tensor, draws: Draws, mean: Tensor) -> Tensor:
        height, width = x.shape[2:]
        u = draws[self.name]
        top, left = ((u[:, axis] * size).long() - self.size // 2 for axis, size in enumerate((height, width)))
        inside = rectangle(x, top, left, self.size, self.size)
        fill: Fill = self.fill
        return torch.where(inside, colour(fill, x, mean), x)


def rectangle(x: Tensor, top: Tensor, left: Tensor, rows: Tensor | int, columns: Tensor | int) -> Tensor:
    """``(B, 1, H, W)``: which pixels of ``x`` lie in each image's rectangle, given by vectors ``(B,)``."""
    bottom, right = top + rows, left + columns
    y = torch.arange(x.shape[2], device=x.device)
    across = torch.arange(x.shape[3], device=x.device)
    in_rows = (y >= top[:, None]) & (y < bottom[:, None])
    in_columns = (across >= left[:, None]) & (across < right[:, None])
    return (in_rows[:, :, None] & in_columns[:, None])[:, None]
