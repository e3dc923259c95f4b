"""Random erasing."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field, field_validator
from torch import Tensor

from regulab.data.augmentation.drawing import Draws
from regulab.data.augmentation.fill import MEAN, RANDOM, ColourOrRandom, Fill, as_text, colour, colour_refusal
from regulab.data.augmentation.hashed_noise import uniforms
from regulab.data.augmentation.operation import Operation
from regulab.data.augmentation.operations.cutout import rectangle
from regulab.data.augmentation.operations.resized_crop import TRIES, from_low_to_high, windows
from regulab.values import Part
from regulab.values.complaints import Refusal

WINDOW = slice(0, 2 * TRIES + 2)  # columns
WHETHER, KEY = 2 * TRIES + 2, slice(2 * TRIES + 3, 2 * TRIES + 5)
Share = Annotated[float, Field(gt=0, le=1)]
Ratio = Annotated[float, Field(gt=0, le=100)]


class ErasingFields(Part):
    """What is said of random erasing."""

    probability: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="The share of images that are changed."
    )
    scale: tuple[Share, Share] = Field(
        default=(0.02, 0.33), description="Of which the share of the image's area is drawn."
    )
    ratio: tuple[Ratio, Ratio] = Field(
        default=(0.3, 3.3), description="Of which the rectangle's width over its height is drawn."
    )
    value: ColourOrRandom = Field(
        default=MEAN,
        description="A level from 0 to 255, [r, g, b], `mean`, that of the training images, or `random`, uniform "
        "levels.",
    )

    @field_validator("scale", "ratio")
    @classmethod
    def _ascending(cls, value: tuple[float, float]) -> tuple[float, float]:
        return from_low_to_high(value)


class RandomErasing(ErasingFields, Operation):
    """Random erasing: a rectangle of random area and shape is filled in some images.

    With the probability given; the share of the area is uniform in ``scale``, width/height log-uniform in ``ratio``,
    sides are rounded to whole pixels, and the first of ten tries that fits is placed uniformly. ``value`` fills it:
    a level, a colour, the mean of the training images, or `random` levels, each pixel's own. Source: Zhong et al.
    2020, "Random erasing data augmentation"; torchvision's RandomErasing.
    """

    name: ClassVar[str] = "erase"
    source: ClassVar[str] = "Zhong et al. 2020"
    draws: ClassVar[int] = 2 * TRIES + 5

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({"erase": {}}, {"erase": {"probability": 1.0, "value": "random"}})

    @classmethod
    def samples(cls, side: int) -> tuple[dict[str, Any], ...]:
        return ({"erase": {"probability": 1.0}}, {"erase": {"probability": 1.0, "value": RANDOM}})

    def label(self) -> str:
        own = "" if self.value == MEAN else f", {as_text(self.value)}"
        return f"erase ({100 * self.probability:g} %{own})"

    def fills(self) -> tuple[object, ...]:
        return (self.value,)

    def refusal(self, channels: int, height: int, width: int) -> Refusal | None:
        return colour_refusal("erase.value", self.value, channels)

    def apply(self, x: Tensor, draws: Draws, mean: Tensor) -> Tensor:
        u = draws[self.name]
        top, left, rows, columns = windows(u[:, WINDOW], self.scale, self.ratio, *x.shape[2:])
        inside = rectangle(x, top, left, rows, columns)
        inside = inside & (u[:, WHETHER] < self.probability)[:, None, None, None]
        fill: Fill = self.value
        ground = uniforms(u[:, KEY], x) if fill == RANDOM else colour(fill, x, mean)
        return torch.where(inside, ground, x)
