"""Arrays of pixels as people have them, brought to bytes ``(N, H, W, C)``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulab.errors import UserError

SHAPES = "(N, H, W), (N, H, W, C) or (N, C, H, W), with 1 or 3 channels"
BYTES = "uint8, whole numbers from 0 to 255, or floats from 0 to 1"
DARK = 16  # levels of 255: four bits, or floats that were divided twice
CHUNK = 4096  # images at a time: of floats a copy is made
EXACT = 0.02  # of a level: float32 and float64 store v/255 far closer, half precision within 0.06


def as_pixels(array: NDArray[Any], where: str) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Images as bytes ``(N, H, W, C)``, a copy, and what was done to them.

    Floats from 0 to 1 become ``round(255·v)``, truth values 0 and 255, whole numbers from 0 to 255 stay. Raises
    `UserError` for shapes that are none of images or could be read in two ways, for other levels, and for NaN.
    """
    _refuse_other_kinds(array, where)
    ordered = array.transpose(0, 2, 3, 1) if _channels_first(array.shape, where) else array
    ordered = ordered[..., np.newaxis] if ordered.ndim == 3 else ordered
    pixels = np.empty(ordered.shape, np.uint8)
    furthest = 0.0
    for start in range(0, len(ordered), CHUNK):
        part = ordered[start : start + CHUNK]
        if part.dtype.kind == "f":
            _refuse_other_floats(part, start, where)
            levels = part.astype(np.float64) * 255
            rounded = np.rint(levels)
            furthest = max(furthest, float(np.abs(levels - rounded).max()))
            pixels[start : start + CHUNK] = rounded
        elif part.dtype.kind == "b":
            pixels[start : start + CHUNK] = part * np.uint8(255)
        else:
            _refuse_other_integers(part, start, where)
            pixels[start : start + CHUNK] = part
    return pixels, _notes(array.dtype, furthest, int(pixels.max()), where)


def _notes(dtype: np.dtype[Any], furthest: float, most: int, where: str) -> tuple[str, ...]:
    if dtype.kind == "b":
        return ("truth values became the levels 0 and 255",)
    if dtype.kind != "f":
        return (
            ()
            if most > DARK
            else (f"no level of the images is above {most} of 255: they look black in pictures",)
        )
    if most <= DARK and furthest > EXACT:
        raise UserError(
            f"floats from 0 to 1 of which none is above {most} of 255 levels, so that most of what they hold is lost",
            got=f"levels up to about {most / 255:.2g}",
            expected=BYTES,
            where=where,
            cure="were they divided by 255 twice? else scale them up first",
        )
    if furthest <= EXACT:
        return ("floats from 0 to 1 became the levels 0 to 255, which is what they held",)
    return (
        "floats from 0 to 1 became the levels 0 to 255, "
        f"rounded to the nearest, at most {furthest:.2g} of a level away",
    )


def _refuse_other_kinds(array: NDArray[Any], where: str) -> None:
    if array.dtype.kind not in "fbui":
        what = "Python objects" if array.dtype.kind == "O" else str(array.dtype)
        raise UserError("images that are no numbers", got=what, expected=BYTES, where=where)
    if array.ndim == 2:
        width = round(array.shape[1] ** 0.5)
        square = f": x.reshape(-1, {width}, {width})" if width > 1 and width**2 == array.shape[1] else ""
        raise UserError(
            "rows of numbers, whose height and width nobody says",
            got=f"the shape {array.shape}",
            expected=f"{SHAPES}{square}",
            where=where,
        )
    if array.ndim not in (3, 4):
        raise UserError("no images", got=f"the shape {array.shape}", expected=SHAPES, where=where)
    if 0 in array.shape:
        raise UserError(
            "no pixels", got=f"the shape {array.shape}", expected="one image at least", where=where
        )


def _channels_first(shape: tuple[int, ...], where: str) -> bool:
    """Whether an array of images is ``(N, C, H, W)``."""
    if len(shape) == 3:
        return False
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first and last:
        raise UserError(
            "the channels may stand first or last",
            got=f"the shape {shape}",
            expected="a shape with 1 or 3 in one of the two places; of one channel (N, H, W) will do",
            where=where,
        )
    if not first and not last:
        alpha = 4 in (shape[1], shape[3])
        raise UserError(
            "neither one channel nor three"
            if not alpha
            else "four channels, of which one may be transparency",
            got=f"the shape {shape}",
            expected=SHAPES + ("; put the images on a background first" if alpha else ""),
            where=where,
        )
    return first


def _refuse_other_floats(part: NDArray[Any], start: int, where: str) -> None:
    low, high = float(part.min()), float(part.max())  # NaN where one is NaN
    if not (np.isfinite(low) and np.isfinite(high)):
        index = start + _first(~np.isfinite(part))
        raise UserError(
            "levels that are not finite", got=f"NaN or infinity in image {index}", expected=BYTES, where=where
        )
    if low < 0 or high > 1:
        index = start + _first((part < 0) | (part > 1))
        if low >= 0 and high <= 255:
            cure = "divide them by their greatest possible level, 255 of bytes"
        else:
            cure = "leave out a normalization: regulab normalizes by the training part (data.normalize)"
        raise UserError(
            "floats outside 0 to 1",
            got=f"levels from {low:g} to {high:g}, the first in image {index}",
            expected=BYTES,
            where=where,
            cure=cure,
        )


def _refuse_other_integers(part: NDArray[Any], start: int, where: str) -> None:
    low, high = int(part.min()), int(part.max())
    if low < 0 or high > 255:
        index = start + _first((part < 0) | (part > 255))
        raise UserError(
            "whole numbers that are no bytes",
            got=f"levels from {low:,} to {high:,}, the first in image {index}",
            expected=BYTES,
            where=where,
            cure="16 bits divided by 65535 are such floats" if low >= 0 and 255 < high < 2**16 else "",
        )


def _first(wrong: NDArray[np.bool_]) -> int:
    """The first image with a wrong pixel."""
    return int(wrong.reshape(len(wrong), -1).any(axis=1).argmax())
