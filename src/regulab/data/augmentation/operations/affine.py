"""Rotation, shift, scale, shear and flips: one affine map for each image, and one resampling."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from regulab.data.augmentation.drawing import OLDEST, Draws
from regulab.data.augmentation.fill import Fill, as_text, sample
from regulab.data.augmentation.operation import Operation
from regulab.data.augmentation.ranges import Range, as_factor, either_way, limits, uniform

if TYPE_CHECKING:
    from regulab.data.augmentation.settings import AugmentSettings

ROTATE, SHIFT_X, SHIFT_Y, SCALE, FLIP = range(5)
DRAWS = 5
SHEAR, UPSIDE_DOWN = "shear", "vertical flip"  # streams of their own
FLIPS = {
    False: "",
    True: "flip",
    "horizontal": "flip",
    "vertical": "flip vertically",
    "both": "flip both ways",
}


@dataclass(frozen=True, kw_only=True)
class Affine(Operation):
    """Rotation, shift, scale, shear, flip: each image is moved as a sheet of paper is, and resampled once.

    Of uniform draws come an angle (positive turns counter-clockwise), shifts in pixels (positive to the right and
    down), a factor, shears in degrees and flips, each of every second image. About the centre of the image, in pixels
    with y downwards,

        q = factor · R(angle) · shear · flip(p) + shift,    shear = (1, tan x; 0, 1) · (1, 0; tan y, 1).

    A number r is the range from −r to r; of ``scale`` the factors from 1 − r to 1 + r. Bilinear resampling. What comes
    from outside is ``fill``, 0 unless the settings say otherwise. Equals scipy's affine_transform of order 1 to 2e-5.
    Source: LeCun et al. 1998; the parameters are those of torchvision's RandomAffine.
    """

    name: ClassVar[str] = "affine"
    keys: ClassVar[tuple[str, ...]] = (
        "rotate",
        "translate",
        "translate_x",
        "translate_y",
        "scale",
        "shear_x",
        "shear_y",
        "flip",
    )
    source: ClassVar[str] = "LeCun et al. 1998"

    rotate: Range = 0.0
    translate_x: Range = 0.0
    translate_y: Range = 0.0
    scale: Range = 0.0
    shear_x: Range = 0.0
    shear_y: Range = 0.0
    flip: bool | str = False
    fill: Fill = 0.0

    @classmethod
    def of(cls, settings: AugmentSettings) -> Operation:
        x, y = settings.translate_x, settings.translate_y
        found = cls(
            rotate=settings.rotate,
            translate_x=settings.translate if x is None else x,
            translate_y=settings.translate if y is None else y,
            scale=settings.scale,
            shear_x=settings.shear_x,
            shear_y=settings.shear_y,
            flip=settings.flip,
        )
        return replace(found, fill=settings.fill) if found.moves else found

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return (
            {"rotate": 15.0},
            {"translate": 2.0},
            {"scale": 0.2},
            {"shear_x": 20.0, "shear_y": [-5, 10], "fill": "mean"},
            {"flip": True},
            {
                "rotate": [-5, 15],
                "translate_x": [0, 2],
                "scale": [0.8, 1.1],
                "flip": "both",
                "fill": "reflect",
            },
        )

    @classmethod
    def samples(cls, side: int) -> tuple[dict[str, Any], ...]:
        moved = {"translate": max(1, side // 8)}
        return (
            {"rotate": 15.0},
            moved,
            {"scale": 0.3},
            {"shear_x": 20.0},
            {"flip": "both"},
            {"rotate": 30.0, **moved, "fill": "mean"},
            {"rotate": 30.0, **moved, "fill": "reflect"},
        )

    def in_parts(self) -> bool:
        """Not where existing studies do it: a matrix product may round otherwise in batches of another size."""
        return self.fill != 0

    @property
    def moves(self) -> bool:
        """Whether anything comes from outside."""
        return self != type(self)(flip=self.flip)

    def label(self) -> str:
        shift = "shift", self.translate_x, self.translate_y
        parts = [
            f"rotate {either_way(self.rotate, '°')}" if self.rotate else "",
            *_along_axes(*shift, " px"),
            f"scale {as_factor(self.scale)}" if self.scale else "",
            *(_along_axes("shear", self.shear_x, self.shear_y, "°", alike=False)),
            FLIPS[self.flip],
            f"fill {as_text(self.fill)}" if self.fill else "",
        ]
        return ", ".join(part for part in parts if part)

    def streams(self) -> Mapping[str, int]:
        found = {OLDEST: DRAWS}
        if self.shear_x or self.shear_y:
            found[SHEAR] = 2
        if self.flip in ("vertical", "both"):
            found[UPSIDE_DOWN] = 1
        return found

    def fills(self) -> tuple[object, ...]:
        return (self.fill,)

    def apply(self, x: Tensor, draws: Draws, mean: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        grid = _sampling_positions(height, width, self._inverse_maps(draws, height, width))
        return sample(x, grid, self.fill, mean)

    def _inverse_maps(self, draws: Draws, height: int, width: int) -> Tensor:
        """``(B, 3, 2)``: from output pixel offsets (x, y, 1) about the centre to `grid_sample` coordinates.

        p = flip(shear⁻¹·R(−angle)·(q − shift)/factor), with x scaled by 2/width and y by 2/height.
        """
        table = draws[OLDEST]
        angle = _drawn(table[:, ROTATE], self.rotate, math.radians)
        factor = 1 + table.new_zeros(len(table)) if not self.scale else self._factor(table[:, SCALE])
        shift_x = _drawn(table[:, SHIFT_X], self.translate_x)
        shift_y = _drawn(table[:, SHIFT_Y], self.translate_y)
        cosine, sine = torch.cos(angle) / factor, torch.sin(angle) / factor
        x_row = torch.stack((cosine, -sine, sine * shift_y - cosine * shift_x), 1)
        y_row = torch.stack((sine, cosine, -sine * shift_x - cosine * shift_y), 1)
        if SHEAR in self.streams():
            along_x, along_y = (
                torch.tan(_drawn(draws[SHEAR][:, axis], value, math.radians))[:, None]
                for axis, value in enumerate((self.shear_x, self.shear_y))
            )
            x_row = x_row - along_x * y_row
            y_row = y_row - along_y * x_row
        x_row, y_row = x_row * (2 / width), y_row * (2 / height)
        if self.flip in (True, "horizontal", "both"):
            x_row = torch.where(table[:, FLIP, None] >= 0.5, -x_row, x_row)
        if UPSIDE_DOWN in self.streams():
            y_row = torch.where(draws[UPSIDE_DOWN] >= 0.5, -y_row, y_row)
        return torch.stack((x_row, y_row), 2)

    def _factor(self, u: Tensor) -> Tensor:
        if isinstance(self.scale, tuple):
            return uniform(u, *self.scale)
        return 1 + (2 * u - 1) * self.scale


def _drawn(u: Tensor, value: Range, unit: Callable[[float], float] = float) -> Tensor:
    """Draws of a range about 0. For a number (2u − 1)·r, to the bit as ever."""
    if isinstance(value, tuple):
        return uniform(u, *(unit(end) for end in limits(value, 0.0)))
    centred: Tensor = 2 * u - 1
    return centred * unit(value)


def _along_axes(word: str, x: Range, y: Range, unit: str, alike: bool = True) -> list[str]:
    """``shift ±2 px``, or ``shift x ±2 px``, ``shift y 0 to 1 px``."""
    if x == y and alike:
        return [f"{word} {either_way(x, unit)}"] if x else []
    return [f"{word} {axis} {either_way(value, unit)}" for axis, value in (("x", x), ("y", y)) if value]


def _sampling_positions(height: int, width: int, maps: Tensor) -> Tensor:
    """``(B, H, W, 2)`` positions for `grid_sample`, from ``maps`` of shape ``(B, 3, 2)``."""
    offsets = _offsets(height, width, maps.dtype, maps.device)
    return torch.matmul(offsets, maps).view(-1, height, width, 2)


@lru_cache(maxsize=8)
def _offsets(height: int, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """``(H·W, 3)``: every pixel's offset from the centre, x and y, and 1. Made once: it took 0.05 ms of a step."""
    x = torch.arange(width, dtype=dtype, device=device) - (width - 1) / 2
    y = torch.arange(height, dtype=dtype, device=device) - (height - 1) / 2
    return torch.stack((x.repeat(height), y.repeat_interleave(width), torch.ones_like(x).repeat(height)), 1)
