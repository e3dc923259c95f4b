"""Gaussian blur."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from regulab.data.augmentation.colours import blurred
from regulab.data.augmentation.drawing import Draws
from regulab.data.augmentation.operation import Operation
from regulab.data.augmentation.ranges import Range, uniform
from regulab.values.complaints import Refusal

if TYPE_CHECKING:
    from regulab.data.augmentation.settings import AugmentSettings

DEVIATIONS = 4  # that the Gaussian reaches on either side, as in scipy


@dataclass(frozen=True)
class Blur(Operation):
    """Blur: an image under a Gaussian of its random deviation σ, in pixels.

    The weights exp(−d²/2σ²) over their sum, along both axes, to 4 of the largest deviation on either side; the image
    is mirrored at its outermost pixels. A number is σ itself, a range is drawn from. Equals scipy's gaussian_filter
    of mode mirror to 1e-6. Source: torchvision's GaussianBlur; Chen et al. 2020 (SimCLR).
    """

    name: ClassVar[str] = "blur"
    source: ClassVar[str] = "torchvision's GaussianBlur"

    deviation: Range

    @classmethod
    def of(cls, settings: AugmentSettings) -> Operation | None:
        return cls(settings.blur) if settings.blur else None

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({"blur": 0.8}, {"blur": [0.1, 2]})

    @classmethod
    def samples(cls, side: int) -> tuple[dict[str, Any], ...]:
        return ({"blur": [0.1, max(0.5, side / 40)]},)

    @property
    def limits(self) -> tuple[float, float]:
        return self.deviation if isinstance(self.deviation, tuple) else (self.deviation, self.deviation)

    @property
    def radius(self) -> int:
        return int(DEVIATIONS * self.limits[1] + 0.5)

    def label(self) -> str:
        low, high = self.limits
        return f"blur σ {high:g} px" if low == high else f"blur σ {low:g} to {high:g} px"

    def refusal(self, channels: int, height: int, width: int) -> Refusal | None:
        largest = self.limits[1]
        if largest < min(height, width) / 2:
            return None
        return Refusal(
            f"a blur as wide as the images, which are {height} × {width}",
            key="blur",
            got=largest,
            expected=f"under {min(height, width) / 2:g} pixels",
        )

    def in_parts(self) -> bool:
        return True

    def apply(self, x: Tensor, draws: Draws, mean: Tensor) -> Tensor:
        return blurred(x, uniform(draws[self.name][:, 0], *self.limits), self.radius)
