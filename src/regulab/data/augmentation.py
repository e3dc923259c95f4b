"""Random affine changes of training images: each image with its own draw, a whole batch in one resampling."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from regulab.config import Fraction, NonNegative, Part

ROTATE, SHIFT_X, SHIFT_Y, SCALE, FLIP = range(5)
DRAWS = 5


class AugmentSettings(Part):
    """How much images may be changed; everything is off by default."""

    rotate: Annotated[float, Field(ge=0, le=180, allow_inf_nan=False)] = Field(
        default=0.0, description="Degrees, either way."
    )
    translate: NonNegative = Field(default=0.0, description="Pixels, either way, along each axis.")
    scale: Fraction = Field(default=0.0, description="Enlarged or reduced by up to this fraction.")
    flip: bool = Field(default=False, description="Left to right, every second image on average.")

    @property
    def active(self) -> bool:
        """Whether any image would change."""
        return self != AugmentSettings()

    def label(self) -> str:
        """For legends: ``rotate ±7°, shift ±2 px``."""
        parts = [
            f"rotate ±{self.rotate:g}°" if self.rotate else "",
            f"shift ±{self.translate:g} px" if self.translate else "",
            f"scale ±{100 * self.scale:g} %" if self.scale else "",
            "flip" if self.flip else "",
        ]
        return ", ".join(part for part in parts if part) or "no augmentation"


def draw(generator: np.random.Generator, n: int) -> NDArray[np.float32]:
    """``(n, DRAWS)`` uniform draws in [0, 1), one row per image, whatever the settings.

    Columns have a fixed meaning (`ROTATE` … `FLIP`), so that arms with different settings share draws.
    The upper 24 bits of raw 64-bit draws, all that a float32 holds, stay the same in every numpy release.
    """
    raw = generator.bit_generator.random_raw(n * DRAWS).reshape(n, DRAWS)
    return (raw >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)


def augment(x: Tensor, draws: Tensor, settings: AugmentSettings) -> Tensor:
    """Images ``(B, C, H, W)`` in [0, 1], each flipped, scaled, rotated and shifted by its row of ``draws``.

    A draw u becomes the angle (2u − 1)·rotate (positive turns counter-clockwise), the shifts
    (2u − 1)·translate (positive to the right and down), the factor 1 + (2u − 1)·scale, and a flip where
    u ≥ 1/2. About the centre of the image, in pixels, q = factor·R(angle)·flip(p) + shift. Bilinear
    resampling; what comes from outside is 0, so this stands before normalization. Returns ``x`` itself
    where nothing is active.
    """
    if not settings.active:
        return x
    height, width = x.shape[-2:]
    grid = _sampling_positions(height, width, _inverse_maps(draws, settings, height, width))
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _inverse_maps(draws: Tensor, settings: AugmentSettings, height: int, width: int) -> Tensor:
    """``(B, 3, 2)``: from output pixel offsets (x, y, 1) about the centre to `grid_sample` coordinates.

    p = flip(R(−angle)·(q − shift)/factor), with x scaled by 2/width and y by 2/height.
    """
    centred = 2 * draws - 1
    angle = centred[:, ROTATE] * math.radians(settings.rotate)
    factor = 1 + centred[:, SCALE] * settings.scale
    shift_x, shift_y = centred[:, SHIFT_X] * settings.translate, centred[:, SHIFT_Y] * settings.translate
    cosine, sine = torch.cos(angle) / factor, torch.sin(angle) / factor
    x_row = torch.stack((cosine, -sine, sine * shift_y - cosine * shift_x), 1) * (2 / width)
    y_row = torch.stack((sine, cosine, -sine * shift_x - cosine * shift_y), 1) * (2 / height)
    if settings.flip:
        x_row = torch.where(draws[:, FLIP, None] >= 0.5, -x_row, x_row)
    return torch.stack((x_row, y_row), 2)


def _sampling_positions(height: int, width: int, maps: Tensor) -> Tensor:
    """``(B, H, W, 2)`` positions for `grid_sample`, from ``maps`` of shape ``(B, 3, 2)``."""
    x = torch.arange(width, dtype=maps.dtype, device=maps.device) - (width - 1) / 2
    y = torch.arange(height, dtype=maps.dtype, device=maps.device) - (height - 1) / 2
    offsets = torch.stack(
        (x.repeat(height), y.repeat_interleave(width), torch.ones_like(x).repeat(height)), 1
    )
    return torch.matmul(offsets, maps).view(-1, height, width, 2)
