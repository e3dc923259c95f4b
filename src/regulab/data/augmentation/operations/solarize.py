"""Bright values inverted."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from regulab.data.augmentation.drawing import Draws
from regulab.data.augmentation.levels import looked_up, solarized, to_levels
from regulab.data.augmentation.operation import Operation, for_some
from regulab.values import Part


class Solarize(Part, Operation):
    """Solarize: the bright pixels of some images are inverted.

    With the probability given, levels from the threshold on become 255 − v; values become levels first. Equals
    Pillow's ImageOps.solarize to the level. Source: torchvision's RandomSolarize.
    """

    name: ClassVar[str] = "solarize"
    source: ClassVar[str] = "torchvision's RandomSolarize"

    threshold: Annotated[float, Field(ge=0, le=255)] = Field(
        default=128.0, description="Levels from this on are inverted."
    )
    probability: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="The share of images that are changed."
    )

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({"solarize": {"threshold": 100.0}},)

    def label(self) -> str:
        return f"solarize from {self.threshold:g} ({100 * self.probability:g} %)"

    def apply(self, x: Tensor, draws: Draws, mean: Tensor) -> Tensor:
        return for_some(draws[self.name][:, 0] < self.probability, x, self.changed)

    def changed(self, x: Tensor) -> Tensor:
        return looked_up(to_levels(x), solarized(self.threshold, x))
