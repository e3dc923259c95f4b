"""One image file as levels: grey or colour, upright, its depth known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from regulab.data.formats.decoding import has_more_frames, opened
from regulab.data.formats.fitting import Fit
from regulab.errors import UserError

EIGHT = "8-bit levels"
DEEP = "grey levels of 16 or 32 bits"
DEEP_COLOUR = "colours of 16 bits"
FLOATING = "floating-point levels"
BITS, PHOTOMETRIC, SAMPLE_FORMAT, WHITE_IS_ZERO = 258, 262, 339, 0  # of TIFF
COLOURS_ONLY = ("WEBP", "AVIF")  # have no grey, so it is told by equal channels


@dataclass(frozen=True, eq=False)
class Levels:
    """``array``: ``(H, W)`` or RGB ``(H, W, 3)``; uint8, or integers or floats as stored where levels are deep."""

    array: NDArray[Any]
    depth: str  # EIGHT, DEEP, DEEP_COLOUR (of which only the upper 8 bits are here), FLOATING
    several_frames: bool  # the file holds more than this first one
    cmyk: bool  # converted without a colour profile
    stored: tuple[int, int]  # height and width in the file, upright

    @property
    def size(self) -> tuple[int, int]:
        return self.array.shape[0], self.array.shape[1]


def read_levels(
    path: Path, fit: Fit | None, size: tuple[int, int] | None = None, example: Path | None = None
) -> Levels:
    """The first frame of the image in a file, as its EXIF orientation turns it, brought to ``fit`` where that is given.

    With a ``size`` (height, width) instead, an image of another size is refused by its header, before it is decoded;
    ``example`` is the file that set the size. Palettes and CMYK become RGB, a palette of greys grey. Raises `UserError`
    naming the file, also for pixels that are not opaque and for floats that are not finite.
    """
    with opened(path) as image:
        stored = image.size[::-1]
        if fit is not None:
            size = None
        # The orientation may stand behind the pixels, so either way up will do until they are decoded.
        if size is not None and sorted(stored) != sorted(size):
            raise other_size(stored, size, path, example)
        depth = _depth(image, path)
        several = has_more_frames(image)
        greys_as_colours = (
            image.mode in ("P", "PA")
            or image.format in COLOURS_ONLY
            or any(mode.startswith("LA;") for mode in _stored_modes(image))
        )
        if fit is not None:
            fit.draft(image)
        image.load()
        decoded, upright = image.size, ImageOps.exif_transpose(image)
        if depth in (DEEP, FLOATING):
            array = _deep(upright, _is_unsigned(image), fit, path)
        else:
            array = _eight(upright, greys_as_colours, fit, path)
        if size is not None and array.shape[:2] != size:
            raise other_size(array.shape[:2], size, path, example)
        turned = decoded != upright.size
        return Levels(array, depth, several, image.mode == "CMYK", stored[::-1] if turned else stored)


def other_size(got: tuple[int, int], size: tuple[int, int], path: Path, example: Path | None) -> UserError:
    return UserError(
        "images of different sizes",
        got=f"{got[1]} × {got[0]} pixels",
        expected=f"{size[1]} × {size[0]} as in {example}",
        where=str(path),
        cure="`size: 64` under `data` brings all images to 64 × 64 pixels",
    )


def _depth(image: Image.Image, path: Path) -> str:
    deep = image.mode.startswith("I") or image.mode == "F"
    tags = getattr(image, "tag_v2", {})
    if deep and tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        raise UserError(
            "a TIFF of more than 8 bits in which white is 0",
            expected="black as 0 (PhotometricInterpretation 1); Pillow would show it inverted",
            where=str(path),
        )
    if deep:
        return FLOATING if image.mode == "F" else DEEP
    return DEEP_COLOUR if any(";16" in mode for mode in _stored_modes(image)) else EIGHT


def _stored_modes(image: Image.Image) -> list[str]:
    """How the pixels lie in the file, such as ``RGB;16B``: Pillow decodes them to 8 bits without a word."""
    arguments = [tile[3] for tile in getattr(image, "tile", [])]
    firsts = [value[0] if isinstance(value, tuple) and value else value for value in arguments]
    return [value for value in firsts if isinstance(value, str)]


def _is_unsigned(image: Image.Image) -> bool:
    """Whether these are the unsigned 32-bit levels of a TIFF, which Pillow takes for signed ones."""
    tags = getattr(image, "tag_v2", {})
    return image.mode == "I" and tags.get(BITS) == (32,) and tags.get(SAMPLE_FORMAT, (1,)) == (1,)


def _eight(image: Image.Image, greys_as_colours: bool, fit: Fit | None, path: Path) -> NDArray[np.uint8]:
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("1", "L", "LA") else "RGBA")
        if image.getchannel("A").getextrema()[0] != 255:
            raise _transparent(path)
    image = image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
    array = np.asarray(image if fit is None else fit.apply(image))
    if array.ndim == 3 and greys_as_colours and (array == array[..., :1]).all():
        return array[..., 0]
    return array


def _deep(image: Image.Image, unsigned: bool, fit: Fit | None, path: Path) -> NDArray[Any]:
    array = np.asarray(image)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    clear = image.info.get("transparency")
    if isinstance(clear, int) and (array == clear).any():
        raise _transparent(path)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UserError(
            "levels that are not finite",
            got=f"{np.count_nonzero(~np.isfinite(array)):,} of {array.size:,}",
            expected="finite numbers",
            where=str(path),
        )
    if unsigned:
        array = array.view(np.uint32)
    return array if fit is None else fit.apply_deep(array)


def _transparent(path: Path) -> UserError:
    return UserError(
        "an image with transparent pixels",
        expected="opaque ones; lay it on a background of your choice first",
        where=str(path),
    )
