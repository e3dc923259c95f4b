"""The one place where Pillow opens a person's file: only our formats, of a bearable size, with every failure named.

Nothing here trusts the file. Left to its own devices, Pillow would start Ghostscript for an EPS called ``.png``; its
decoders raise almost any exception for damaged bytes; and a few kilobytes can declare gigabytes of pixels.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from regulab.data.names import visible
from regulab.data.regular_file import open_regular, reason
from regulab.errors import UserError

# What Pillow decodes by itself, in this process, without another program.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
MOST_PIXELS = 50_000_000  # 200 MB as 32-bit levels
MOST_FILE_BYTES = 2**30  # some decoders read the whole file before they look at it
COUNTED = 100  # directories of a TIFF


@functools.cache
def formats() -> tuple[str, ...]:
    """The `FORMATS` that this Pillow has."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@functools.cache
def suffixes() -> frozenset[str]:
    """The suffixes, in lower case with their dot, that promise an image in one of these formats."""
    known = formats()
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in known)


@contextmanager
def opened(path: Path, noun: str = "image") -> Iterator[Image.Image]:
    """The image in a file, of which only the header was read; its pixels are decoded by ``load()``.

    Raises `UserError` that names the file: for what is no regular file, no image of our formats, too large by its
    header, and for everything that decoders raise within the ``with``.
    """
    try:
        with warnings.catch_warnings(), open_regular(path) as file:
            warnings.simplefilter("ignore")  # of doubtful metadata and of size, which is looked at here
            _refuse_large_file(path, file.seek(0, 2), noun)
            with Image.open(file, formats=formats()) as image:
                _refuse_size(image.size, path, noun)
                yield image
    except UserError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large("several times as many", path, noun) from error
    except UnidentifiedImageError as error:
        article = "an" if noun[0] in "aeiou" else "a"
        raise UserError(
            f"unreadable {noun} (not {article} {noun} of a kind that is read)",
            expected=f"one of {', '.join(formats())}",
            where=str(path),
        ) from error
    except OSError as error:
        raise UserError(f"unreadable {noun} ({visible(reason(error))})", where=str(path)) from error
    # SyntaxError, ValueError, TypeError, KeyError, EOFError, OverflowError, struct.error, zlib.error, MemoryError …:
    # which one depends on the format and on the place of the damage.
    except Exception as error:
        text = visible(str(error)) or type(error).__name__
        raise UserError(f"unreadable {noun} ({text})", where=str(path)) from error


def has_more_frames(image: Image.Image) -> bool:
    """Whether the file holds more than its first frame; previews beside a camera's photo (MPO) do not count."""
    if image.format == "TIFF":
        # Pillow would walk all of its directories, in quadratic time.
        return bool(getattr(image, "tag_v2").next)  # noqa: B009
    return image.format != "MPO" and bool(getattr(image, "is_animated", False))


def count_frames(image: Image.Image) -> int:
    """How many frames the file holds, as `has_more_frames` counts; of a TIFF up to `COUNTED`. Before ``load()``."""
    if image.format != "TIFF":
        return getattr(image, "n_frames", 1) if has_more_frames(image) else 1
    found = 1
    with contextlib.suppress(Exception):  # EOFError after the last one, others where a later one is damaged
        while found < COUNTED:
            image.seek(found)
            found += 1
    image.seek(0)
    return found


def _refuse_large_file(path: Path, size: int, noun: str) -> None:
    if size > MOST_FILE_BYTES:
        raise UserError(
            f"the file of the {noun} is too large",
            got=f"{size:,} bytes",
            expected=f"at most {MOST_FILE_BYTES:,}",
            where=str(path),
        )


def _refuse_size(size: tuple[int, int], path: Path, noun: str) -> None:
    if 0 in size:
        raise UserError(f"the {noun} has no pixels", got=f"{size[0]} × {size[1]} pixels", where=str(path))
    if size[0] * size[1] > MOST_PIXELS:
        raise _too_large(f"{size[0]:,} × {size[1]:,} pixels", path, noun)


def _too_large(got: str, path: Path, noun: str) -> UserError:
    return UserError(
        f"the {noun} is too large", got=got, expected=f"at most {MOST_PIXELS:,} pixels", where=str(path)
    )
