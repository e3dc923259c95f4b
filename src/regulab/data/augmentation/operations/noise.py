"""Gaussian noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from regulab.data.augmentation.drawing import Draws
from regulab.data.augmentation.hashed_noise import normals
from regulab.data.augmentation.operation import Operation
from regulab.data.augmentation.ranges import Range, uniform

if TYPE_CHECKING:
    from regulab.data.augmentation.settings import AugmentSettings

SIZE, KEY = 0, slice(1, 3)  # columns


@dataclass(frozen=True)
class GaussianNoise(Operation):
    """Noise: an independent normal number is added to every value of an image.

    v + σ·z, cut to [0, 1], z ~ N(0, 1) for every pixel and channel; σ as a part of the range from black to white: 0.1
    is 25.5 levels. A number is σ itself, a range is drawn from for every image. Source: Bishop 1995, "Training with
    noise is equivalent to Tikhonov regularization"; torchvision's GaussianNoise.
    """

    name: ClassVar[str] = "noise"
    source: ClassVar[str] = "Bishop 1995"
    draws: ClassVar[int] = 3

    deviation: Range

    @classmethod
    def of(cls, settings: AugmentSettings) -> Operation | None:
        return cls(settings.noise) if settings.noise else None

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({"noise": 0.1}, {"noise": [0, 0.3]})

    @property
    def limits(self) -> tuple[float, float]:
        return self.deviation if isinstance(self.deviation, tuple) else (self.deviation, self.deviation)

    def label(self) -> str:
        low, high = self.limits
        return f"noise σ {high:g}" if low == high else f"noise σ {low:g} to {high:g}"

    def in_parts(self) -> bool:
        return True

    def apply(self, x: Tensor, draws: Draws, mean: Tensor) -> Tensor:
        table = draws[self.name]
        deviation = uniform(table[:, SIZE], *self.limits)[:, None, None, None]
        return normals(table[:, KEY], x).mul_(deviation).add_(x).clamp_(0, 1)
