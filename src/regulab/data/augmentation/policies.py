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
from regulab.data.augmentation.fill import Fill, colour, nearest
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
class DrawnOperations:
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


Change = Callable[[Tensor, DrawnOperations], Tensor]


def by_policy(x: Tensor, several: Sequence[DrawnOperations], fill: Fill, mean: Tensor) -> Tensor:
    """Images ``(B, C, H, W)`` in [0, 1] as levels, each by its own operations in turn, as values in [0, 1]."""
    levels = (x.contiguous() * 255).round_()
    moving = partial(moved, fill=fill, ground=(colour(fill, x, mean) * 255).round())
    changes: dict[tuple[str, ...], Change] = {
        MOVING: moving,
        ("brightness", "contrast"): blended,
        ("posterize",): posterized,
        ("solarize",): solarized,
        ("autocontrast", "equalize"): evened,
        ("sharpness",): sharpened,
    }
    if x.shape[1] > 1:  # grey images have no colour to change
        changes["colour",] = coloured
    for drawn in several:
        each = (drawn.operation, drawn.magnitude, drawn.sign)
        for names, change in changes.items():
            own = partial(_with_draws, change, drawn.space)
            levels = for_some(drawn.of(*names), levels, own, *each, in_place=True)
    return levels.div_(255)


def _with_draws(change: Change, space: Space, levels: Tensor, *each: Tensor) -> Tensor:
    return change(levels, DrawnOperations(space, *each))


def moved(levels: Tensor, drawn: DrawnOperations, *, fill: Fill, ground: Tensor) -> Tensor:
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
    # Positions from −1 to 1 from edge to edge, as `grid_sample` takes them.
    across = (cosine * (2 / width)) * columns + ((b * rows + c) * (2 / width) - 1)
    down = (d * (2 / height)) * columns + ((cosine * rows + f) * (2 / height) - 1)
    return nearest(levels, torch.stack((across, down), -1), fill, ground)


def blended(levels: Tensor, drawn: DrawnOperations) -> Tensor:
    """Brightness and contrast: away from black, or from the mean grey."""
    return _blended(levels, _mean_grey(levels) * _each(drawn.of("contrast")), drawn.factor)


def posterized(levels: Tensor, drawn: DrawnOperations) -> Tensor:
    """The highest bits are kept."""
    step = 2.0 ** (drawn.part * drawn.space.bits).round()
    return (levels / step).floor_().mul_(step)


def solarized(levels: Tensor, drawn: DrawnOperations) -> Tensor:
    """Levels from 255 − 255·magnitude/30 on are inverted."""
    return torch.where(levels < 255 * (1 - drawn.part), levels, 255 - levels)


def evened(levels: Tensor, drawn: DrawnOperations) -> Tensor:
    """Autocontrast and equalize, of which every channel has a table of its own."""
    whole = levels.long()
    counts = histograms(whole)
    stretch = drawn.of("autocontrast")[:, None, None]
    return (looked_up(whole, torch.where(stretch, stretched(counts), equalized(counts))) * 255).round_()


def sharpened(levels: Tensor, drawn: DrawnOperations) -> Tensor:
    """Away from a smoothed copy."""
    return _blended(levels, (smoothed(levels) + 0.5).floor_(), drawn.factor)


def coloured(levels: Tensor, drawn: DrawnOperations) -> Tensor:
    """Away from grey."""
    return _blended(levels, (grey(levels) + 0.5).floor_(), drawn.factor)


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
    return (levels - ground).mul_(factor).add_(ground).clamp_(0, 255).floor_()
