"""Noise on the inputs as a technique of its own."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field

from regulab.data.augmentation.ranges import Noise
from regulab.techniques.adding import AddedOperation
from regulab.techniques.search_range import SearchRange


class InputNoise(AddedOperation):
    """Input noise: x → x + σ·z, z ~ N(0, 1) for every pixel, channel, image and epoch, cut to black and white.

    Where nothing is cut it penalizes, to the order σ², the slope of the network's outputs: E[L(x + σz)] ≈ L(x) +
    (σ²/2)·tr ∇²L(x). In addition to the other augmentation of the study or arm, in the place of ``data.augment.noise``.
    All arms of a seed share z, whatever their σ. Inference: images as they are. Parameter: ``deviation`` σ, 0 to 1, as
    a part of the range from black to white (0.1 is 25.5 levels), or [low, high] to draw it from for every image.

    Source: Bishop 1995, "Training with noise is equivalent to Tikhonov regularization".
    """

    name: ClassVar[str] = "input_noise"
    scalar: ClassVar[str] = "deviation"
    search: ClassVar[SearchRange | None] = SearchRange(0.02, 0.5)
    operation: ClassVar[str] = "noise"
    deviation: Noise = Field(
        description="The deviation σ, as a part of the range from black to white, or [low, high]."
    )

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        return cls(deviation=0.1), cls(deviation=(0.0, 0.3))

    def legend(self) -> str:
        return "input " + super().legend() if self.deviation else "input noise σ 0"

    def said(self) -> Any:
        return self.deviation
