"""RandAugment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from regulab.data.augmentation.drawing import Draws
from regulab.data.augmentation.fill import Outside, as_text, colour_refusal
from regulab.data.augmentation.operation import Operation
from regulab.data.augmentation.policies import OPERATIONS, DrawnOperations, Space, by_policy
from regulab.values import Part
from regulab.values.complaints import Refusal

if TYPE_CHECKING:
    from regulab.data.augmentation.settings import AugmentSettings

SPACE = Space(shear=0.3, shift=150 / 331, of_size=True, rotate=30.0, factor=0.9, bits=4)


class RandAugmentFields(Part):
    """What is said of RandAugment."""

    n: Annotated[int, Field(ge=1, le=14)] = Field(
        default=2, description="How many operations an image gets, one after the other."
    )
    m: Annotated[int, Field(ge=0, le=30)] = Field(default=9, description="How strong they are.")
    fill: Outside | None = Field(
        default=None, description="What comes from outside; null takes `augment.fill`."
    )


class RandAugment(RandAugmentFields, Operation):
    """RandAugment: ``n`` operations of fourteen for each image one after the other, all at magnitude ``m``.

    The operations are uniform, with repetition: identity, shear along x or y (tangent to 0.3), shift along x or y (to
    150/331 of the side), rotation (to 30°), brightness, colour, contrast, sharpness (factors 1 ± 0.9), posterize (8 to
    4 bits), solarize (from level 255 to 0), autocontrast, equalize, each at m/30 of the way; those with a sign have
    either. Images become levels first; the nearest pixels are taken; what comes from outside is ``fill``. Equals
    Pillow to one level an operation, and where pixels move, but for those half-way between two. On grey images colour
    changes nothing. Source: Cubuk et al. 2020, "RandAugment"; the space is that of torchvision's RandAugment.
    """

    name: ClassVar[str] = "rand_augment"
    source: ClassVar[str] = "Cubuk et al. 2020"

    @classmethod
    def of(cls, settings: AugmentSettings) -> Operation | None:
        policy = settings.rand_augment
        if policy is None or policy.fill is not None:
            return policy
        return policy.model_copy(update={"fill": settings.fill})

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({"rand_augment": {}}, {"rand_augment": {"n": 3, "m": 20}, "fill": "mean"})

    @classmethod
    def samples(cls, side: int) -> tuple[dict[str, Any], ...]:
        return ({"rand_augment": True}, {"rand_augment": {"n": 2, "m": 20}, "fill": "mean"})

    def label(self) -> str:
        own = f", fill {as_text(self.fill)}" if self.fill else ""
        return f"RandAugment (n={self.n}, m={self.m}{own})"

    def streams(self) -> Mapping[str, int]:
        """A stream for each of the n: a larger n keeps the draws of a smaller."""
        return {f"{self.name} {place}": 2 for place in range(self.n)}

    def fills(self) -> tuple[object, ...]:
        return (self.fill,)

    def refusal(self, channels: int, height: int, width: int) -> Refusal | None:
        return colour_refusal("rand_augment.fill", self.fill or 0.0, channels)

    def apply(self, x: Tensor, draws: Draws, mean: Tensor) -> Tensor:
        return by_policy(x, [self.drawn(draws[stream]) for stream in self.streams()], self.fill or 0.0, mean)

    def drawn(self, u: Tensor) -> DrawnOperations:
        return DrawnOperations(
            SPACE,
            operation=(u[:, 0] * len(OPERATIONS)).floor(),
            magnitude=torch.full_like(u[:, 0], self.m),
            sign=torch.where(u[:, 1] < 0.5, -1.0, 1.0),
        )
