"""One picture from a person's file, of any kind that Pillow reads, as levels in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from regulab.data.formats.decoding import COUNTED, count_frames, opened
from regulab.errors import UserError

LONGEST = 1200  # pixels a side that are kept: what a page shows of it


@dataclass(frozen=True, eq=False)
class Picture:
    """``levels``: grey ``(H, W)`` or RGB ``(H, W, 3)``, float64 in [0, 1]; ``depth``: bits of a stored level.

    ``notes`` say what had to be done to it.
    """

    levels: NDArray[np.float64]
    depth: int
    notes: tuple[str, ...] = ()


def load_picture(path: Path, longest: int = LONGEST) -> Picture:
    """The picture in a file, upright as its EXIF orientation says.

    Grey where it is stored so or where red, green and blue are equal everywhere, else RGB. 16-bit grey keeps its
    levels, v/65535. Transparent pixels are laid on white; of an animation the first frame counts; CMYK and palettes
    become RGB. A side longer than ``longest`` pixels is brought below by averaging squares of k × k pixels.

    Raises `UserError` for what is not there, not a picture, damaged, of more than `decoding.MOST_PIXELS` pixels
    (before any of them is decoded), or of levels without a known range.
    """
    _require_file(path)
    with opened(path, "picture") as image:
        frames = count_frames(image)
        image.load()
        return _picture(image, frames, longest, path)


def _require_file(path: Path) -> None:
    """Says plainly what is wrong most often; what else is wrong, `opened` says."""
    try:
        path.stat()
    except FileNotFoundError:
        raise UserError("no such file", expected="a picture", where=str(path)) from None
    except (OSError, ValueError):
        return


def _picture(image: Image.Image, frames: int, longest: int, path: Path) -> Picture:
    notes = []
    if frames > 1:
        notes.append(f"the first of {frames}{' or more' if frames == COUNTED else ''} frames")
    upright = ImageOps.exif_transpose(image)
    if upright.size != image.size or image.getexif().get(0x0112, 1) != 1:
        notes.append("turned as its EXIF orientation says")
    deep = upright.mode.startswith("I") or upright.mode == "F"
    if upright.mode == "CMYK":
        notes.append("converted from CMYK without a colour profile")
    if not deep and upright.has_transparency_data:
        upright, seen_through = _on_white(upright)
        if seen_through:
            notes.append("transparent pixels laid on white")
    if deep:
        upright, scale, depth = _deep(upright, path)
    else:
        grey = upright.mode in ("1", "L")
        upright, scale, depth = upright.convert("L" if grey else "RGB"), 255.0, 8
    factor = -(-max(upright.size) // longest)
    if factor > 1:
        whole = upright.size
        upright = upright.reduce(factor)
        notes.append(
            f"brought from {whole[0]:,} × {whole[1]:,} to {upright.width:,} × {upright.height:,} pixels"
        )
    levels = np.asarray(upright, np.float64) / scale
    if levels.ndim == 3 and (levels == levels[..., :1]).all():
        levels = levels[..., 0]
    return Picture(levels, depth, tuple(notes))


def _on_white(image: Image.Image) -> tuple[Image.Image, bool]:
    """The picture over a white ground, and whether any of that can be seen."""
    layer = image.convert("RGBA")
    if layer.getchannel("A").getextrema()[0] == 255:
        return layer.convert("RGB"), False
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB"), True


def _deep(image: Image.Image, path: Path) -> tuple[Image.Image, float, int]:
    """A picture of more than 8 bits as floats, the level that is white, and the bits."""
    levels = image.convert("F")  # exact up to 24 bits
    array = np.asarray(levels)
    most = 1.0 if image.mode == "F" else 65535.0
    if not (array.min() >= 0 and array.max() <= most):  # a nan fails this, too
        raise UserError(
            "levels without a known range",
            got=f"{array.min():g} to {array.max():g}",
            expected=f"0 to {most:g}",
            where=str(path),
        )
    return levels, most, 32 if image.mode == "F" else 16
