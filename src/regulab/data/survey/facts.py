"""One image as a survey sees it: what it is like, or why a study could not read it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulab.data.formats.fitting import Fit
from regulab.data.formats.image_levels import EIGHT, read_levels
from regulab.data.regular_file import open_regular, reason
from regulab.errors import UserError

DIGEST_BYTES = 16  # a chance match among a million images has probability 1e-27
# A file of more bytes is decoded at a fraction of its size, where its format can do that, and is known by its bytes:
# 12 megapixels take 35 ms instead of 150.
LARGE = 2**18
GLIMPSE = Fit(256, 256, "squash")
GLANCE = 8_192  # pixels that the spread is taken from
BLANK_SHARE, BLANK_LEVELS = 1, 4  # percent of the levels at either end; of 256


@dataclass(frozen=True)
class Facts:
    """``size``: width, height, upright. ``blank``: see `is_blank`."""

    place: str  # the file, as the person finds it, or the number in an array
    part: str
    label: int
    size: tuple[int, int]
    channels: int
    depth: str = EIGHT
    cmyk: bool = False
    several_frames: bool = False
    blank: bool = False
    digest: bytes = b""


@dataclass(frozen=True)
class Refused:
    """A file that a study could not read, and why."""

    place: str
    part: str
    label: int
    reason: str


def look_at(path: Path, place: str, part: str, label: int) -> Facts | Refused:
    """Decodes a whole file, as a study would; what is wrong with it is told and not raised."""
    try:
        large = path.stat().st_size > LARGE
        levels = read_levels(path, GLIMPSE if large else None)
        digest = _file_digest(path) if large else content_digest(levels.array)
    except UserError as error:
        return Refused(place, part, label, _why(error))
    except OSError as error:
        return Refused(place, part, label, reason(error))
    array, (height, width) = levels.array, levels.stored
    channels = 3 if array.ndim == 3 else 1
    kind = (levels.depth, levels.cmyk, levels.several_frames)
    return Facts(place, part, label, (width, height), channels, *kind, is_blank(array), digest)


def content_digest(array: NDArray[Any]) -> bytes:
    """BLAKE2b of an image's shape, type and levels."""
    digest = hashlib.blake2b(f"{array.shape} {array.dtype}".encode(), digest_size=DIGEST_BYTES)
    digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


def is_blank(array: NDArray[Any]) -> bool:
    """Whether an image ``(H, W)`` or ``(H, W, C)`` shows nothing: in every channel no more than 4 of 255 levels lie
    between the 1st and the 99th percentile.

    Of deep levels, whose range is not known here, it is the share of the image's own greatest level.
    """
    pixels = array.reshape(-1, array.shape[2] if array.ndim == 3 else 1)
    sample = pixels[:: max(1, len(pixels) // GLANCE)]
    low, high = np.percentile(sample, [BLANK_SHARE, 100 - BLANK_SHARE], axis=0)
    full = 255 if array.dtype == np.uint8 else max(float(sample.max()), 1e-30)
    return bool((high - low <= BLANK_LEVELS / 255 * full).all())


def _file_digest(path: Path) -> bytes:
    with open_regular(path) as file:
        return hashlib.blake2b(
            file.read(), digest_size=DIGEST_BYTES
        ).digest()  # a file of 1 GiB is refused before


def _why(error: UserError) -> str:
    """What is wrong, in a word: the message without the place, which stands beside it."""
    got = "" if error.got is None else f" ({error.got})"
    return error.problem.removeprefix("unreadable image (").rstrip(")") + got
