"""One picture from a person's file, of any kind that Pillow reads, as levels in [0, 1]."""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from regulab.errors import UserError

# Formats that Pillow decodes itself; left to choose, it would start Ghostscript for a PostScript file.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
MOST_PIXELS = 50_000_000  # 200 MB as 32-bit levels
LONGEST = 1200  # pixels a side that are kept: what a page shows of it
DAMAGE = (OSError, SyntaxError, ValueError, TypeError, EOFError, OverflowError, struct.error)


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

    Raises `UserError` for what is not there, not a picture, damaged, of more than ``MOST_PIXELS`` pixels (before any of
    them is decoded), or of levels without a known range.
    """
    try:
        if not path.is_file():
            problem = "not a file" if path.exists() else "no such file"
            raise UserError(problem, expected="a picture", where=str(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of doubtful metadata and of size, which is looked at here
            with Image.open(path, formats=FORMATS) as image:
                _refuse_huge(image.size, path)
                image.load()
                return _picture(image, longest, path)
    except Image.DecompressionBombError as error:
        raise _too_large("several times as many", path) from error
    except Image.UnidentifiedImageError as error:
        raise UserError("not a picture", expected=f"one of {', '.join(FORMATS)}", where=str(path)) from error
    # Pillow's decoders raise these for damaged files, by format and by the place of the damage.
    except DAMAGE as error:
        raise UserError(f"unreadable picture ({error})", where=str(path)) from error


def _refuse_huge(size: tuple[int, int], path: Path) -> None:
    if size[0] * size[1] > MOST_PIXELS:
        raise _too_large(f"{size[0]:,} × {size[1]:,} pixels", path)


def _too_large(got: str, path: Path) -> UserError:
    return UserError(
        "the picture is too large", got=got, expected=f"at most {MOST_PIXELS:,} pixels", where=str(path)
    )


def _picture(image: Image.Image, longest: int, path: Path) -> Picture:
    notes = []
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a camera's MPO holds previews or the other eye's view
        notes.append(f"the first of {frames} frames")
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
