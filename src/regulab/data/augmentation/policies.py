"""What TrivialAugment and RandAugment have in common: fourteen operations on stored levels, one drawn for each image.

Five of them move pixels and are one affine map for each image; four are functions of the level; two are tables for
each channel; the two others mix with a ground. So a batch whose images have fourteen different operations takes four
steps, without sorting images and without asking a device which they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from regulab.data.augmentation.colours import grey, smoothed
from regulab.data.augmentation.fill import Fill, colour, take
from regulab.data.augmentation.levels import equalized, histograms, looked_up, stretched
from regulab.data.augmentation.operation import for_some

OPERATIONS = (
    "identity",
    "shear x",
    "shear y",
    "translate x",
    "translate y",
    "rotate",
    "brightness",
    "colour",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)
MOVING = ("shear x", "shear y", "translate x", "translate y", "rotate")
BY_LEVEL = ("brightness", "contrast", "posterize", "solarize")
EVENING = ("autocontrast", "equalize")
ENHANCING = ("colour", "sharpness")
BINS = 31  # magnitudes


@dataclass(frozen=True)
class Space:
    """How far the operations go at the largest of the magnitudes 0, 1, …, 30."""

    shear: float  # tangent
    shift: float  # pixels, or with ``of_size`` a part of the side
    of_size: bool
    rotate: float  # degrees
    factor: float  # away from 1
    bits: int  # that posterize takes away


@dataclass(frozen=True)
class Drawn:
    """What each image gets, vectors ``(B,)``: the place of the operation, the magnitude from 0 to 30, the sign."""

    space: Space
    operation: Tensor
    magnitude: Tensor
    sign: Tensor

    def of(self, *names: str) -> Tensor:
        """Whose operation is one of these."""
        return torch.stack([self.operation == OPERATIONS.index(name) for name in names]).any(0)

    def strength(self, name: str, most: float) -> Tensor:
        """sign · most · magnitude/30 for the images whose operation it is, 0 for the others."""
        own = self.sign * (self.magnitude * (most / (BINS - 1)))
        return torch.where(self.of(name), own, 0.0)

    @property
    def part(self) -> Tensor:
        """``(B, 1, 1, 1)``: how much of the largest magnitude."""
        return _each(self.magnitude / (BINS - 1))

    @property
    def factor(self) -> Tensor:
        """``(B, 1, 1, 1)``."""
        return 1 + _each(self.sign) * self.part * self.space.factor


def by_policy(x: Tensor, several: Sequence[Drawn], fill: Fill, mean: Tensor) -> Tensor:
    """Images ``(B, C, H, W)`` in [0, 1] as levels, each by its own operations in turn, as values in [0, 1]."""
    levels = (x * 255).round_()
    moving = partial(moved, fill=fill, ground=(colour(fill, x, mean) * 255).round())
    enhancing = ENHANCING if x.shape[1] > 1 else ("sharpness",)  # grey images have no colour to change
    changes = ((MOVING, moving), (BY_LEVEL, by_level), (EVENING, evened), (enhancing, enhanced))
    for drawn in several:
        each = (drawn.operation, drawn.magnitude, drawn.sign)
        for names, change in changes:
            own = partial(_with_draws, change, drawn.space)
            levels = for_some(drawn.of(*names), levels, own, *each, in_place=True)
    return levels / 255


def _with_draws(
    change: Callable[[Tensor, Drawn], Tensor], space: Space, levels: Tensor, *each: Tensor
) -> Tensor:
    return change(levels, Drawn(space, *each))


def moved(levels: Tensor, drawn: Drawn, *, fill: Fill, ground: Tensor) -> Tensor:
    """Sheared about the upper left corner, shifted, turned about the centre: the nearest pixels are taken.

    The middle of an output pixel (x, y) is taken from (a·x + b·y + c, d·x + a·y + f), as in Pillow's
    ``Image.transform``. ``ground`` ``(C, 1, 1)`` is the level of what comes from outside.
    """
    space = drawn.space
    height, width = levels.shape[2:]
    angle = drawn.strength("rotate", math.radians(space.rotate))
    cosine, sine = angle.cos(), angle.sin()
    # About the centre, counter-clockwise by the angle: what is at (u, v) came from R(−angle)·(u, v), y downwards.
    b = drawn.strength("shear x", space.shear) - sine
    d = drawn.strength("shear y", space.shear) + sine
    shift_x, shift_y = (
        drawn.strength(f"translate {axis}", space.shift * (size if space.of_size else 1)).trunc()
        for axis, size in (("x", width), ("y", height))
    )
    c = (1 - cosine) * (width / 2) + sine * (height / 2) - shift_x
    f = (1 - cosine) * (height / 2) - sine * (width / 2) - shift_y
    columns = torch.arange(width, dtype=levels.dtype, device=levels.device) + 0.5
    rows = (torch.arange(height, dtype=levels.dtype, device=levels.device) + 0.5)[:, None]
    cosine, b, c, d, f = (part[:, None, None] for part in (cosine, b, c, d, f))
    from_column = (cosine * columns + (b * rows + c)).floor().long()
    from_row = (d * columns + (cosine * rows + f)).floor().long()
    return take(levels, from_row, from_column, fill, ground)


def by_level(levels: Tensor, drawn: Drawn) -> Tensor:
    """Brightness, contrast, posterize and solarize, which are functions of the level alone."""
    ground = torch.where(_each(drawn.of("contrast")), _mean_grey(levels), 0.0)
    step = 2.0 ** (drawn.part * drawn.space.bits).round()
    posterized = (levels / step).floor() * step
    solarized = torch.where(levels < 255 * (1 - drawn.part), levels, 255 - levels)
    others = torch.where(_each(drawn.of("posterize")), posterized, solarized)
    return torch.where(
        _each(drawn.of("brightness", "contrast")), _blended(levels, ground, drawn.factor), others
    )


def evened(levels: Tensor, drawn: Drawn) -> Tensor:
    """Autocontrast and equalize, of which every channel has a table of its own."""
    whole = levels.long()
    counts = histograms(whole)
    stretch = drawn.of("autocontrast")[:, None, None]
    return (looked_up(whole, torch.where(stretch, stretched(counts), equalized(counts))) * 255).round_()


def enhanced(levels: Tensor, drawn: Drawn) -> Tensor:
    """Colour and sharpness: away from grey, or from a smoothed copy."""
    ground = (smoothed(levels) + 0.5).floor()
    if levels.shape[1] > 1:
        ground = torch.where(_each(drawn.of("colour")), (grey(levels) + 0.5).floor(), ground)
    return _blended(levels, ground, drawn.factor)


def _each(of_images: Tensor) -> Tensor:
    return of_images[:, None, None, None]


def _mean_grey(levels: Tensor) -> Tensor:
    """``(B, 1, 1, 1)``: the mean of an image's grey levels, to the nearest level."""
    grey_levels = (grey(levels) + 0.5).floor() if levels.shape[1] > 1 else levels
    # Sums of whole numbers below 2⁵³ are exact in any order.
    total = grey_levels.sum((1, 2, 3), dtype=torch.float64, keepdim=True)
    return (total / levels[0, 0].numel() + 0.5).floor().float()


def _blended(levels: Tensor, ground: Tensor, factor: Tensor) -> Tensor:
    """Pillow's ``Image.blend`` of levels: fractions are cut off."""
    return (ground + factor * (levels - ground)).clamp(0, 255).floor()
