"""Fewer levels."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Tensor

from regulab.data.augmentation.drawing import Draws
from regulab.data.augmentation.levels import looked_up, posterized, to_levels
from regulab.data.augmentation.operation import Operation, for_some
from regulab.values import Part


class Posterize(Part, Operation):
    """Posterize: some images keep only the highest bits of their levels.

    With the probability given the lower of a level's eight bits become 0; values become levels first. Equals Pillow's
    ImageOps.posterize to the level. Source: torchvision's RandomPosterize.
    """

    name: ClassVar[str] = "posterize"
    source: ClassVar[str] = "torchvision's RandomPosterize"

    bits: Annotated[int, Field(ge=1, le=7)] = Field(default=4, description="How many bits stay, of eight.")
    probability: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="The share of images that are changed."
    )

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({"posterize": {"bits": 2}},)

    def label(self) -> str:
        return f"posterize to {self.bits} bits ({100 * self.probability:g} %)"

    def apply(self, x: Tensor, draws: Draws, mean: Tensor) -> Tensor:
        return for_some(draws[self.name][:, 0] < self.probability, x, self.changed)

    def changed(self, x: Tensor) -> Tensor:
        return looked_up(to_levels(x), posterized(self.bits, x))
