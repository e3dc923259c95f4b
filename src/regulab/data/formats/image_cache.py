"""Image files are decoded once: what became of them is kept in the person's cache folder, and mapped from there.

The key is a hash over the contents of all files, in order, their labels, the study's settings that touch pixels, and
the versions of what decodes: no name, no place and no date, so what is moved is found, and what is changed is not. All
files are read for that every time (50,000 of 6 kB in 0.7 s, where decoding takes 9). A cached file holds the pixels,
what is known of them as JSON, and a hash over pixels and labels that is compared before anything trains.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import platformdirs
from numpy.typing import NDArray
from PIL import features

from regulab.data.dataset import Images
from regulab.data.formats.class_folders import ImageFiles
from regulab.data.formats.in_order import in_order, threads_for
from regulab.data.names import visible
from regulab.data.reading_shown import tell
from regulab.data.regular_file import open_regular, reason
from regulab.data.room import PART, Growing, InMemory, NoRoomError, OnDisk, Room
from regulab.data.roots import expanded
from regulab.data.stored_pixels import Pixels, StoredPixels
from regulab.errors import UserError

VERSION = 1  # to be raised whenever the same files would become other pixels, or facts have another form
WORTH_FILES, WORTH_BYTES = 2_000, 2**23  # from so many files or bytes on; less is decoded in a second
ENDING = ".images"
MAGIC = b"regulab\n"
END = struct.Struct("<Q8s")  # the length of the JSON before it, and MAGIC
LIBRARIES = ("jpg", "libjpeg_turbo", "zlib", "webp", "avif", "jpg_2000", "libtiff")
Facts = dict[str, Any]
Build = Callable[[Room], tuple[Growing, Facts]]


@dataclass(frozen=True)
class Print:
    """By which a file is known: a hash of its content, and what the system says of it."""

    digest: str
    status: tuple[int, ...]


def cache_folder() -> Path:
    """Where decoded images are kept: ``REGULAB_CACHE`` of the environment, else ``images`` in the user's cache."""
    named = os.environ.get("REGULAB_CACHE")
    if named:
        return expanded(named, "REGULAB_CACHE")
    return platformdirs.user_cache_path("regulab", appauthor=False) / "images"


def remembered(files: ImageFiles, settings: Mapping[str, Any], build: Build) -> tuple[Images, Facts]:
    """The images that ``build`` makes of the files under ``settings``, and its facts: from the cache, or made and kept.

    Facts are JSON; their ``notes`` are a list of sentences. Of few small files nothing is kept. A cached file that is
    damaged is made anew, and without a place to write to the images are in memory; both are told. Raises `UserError`
    where files change while they are read, and as ``build``.
    """
    total = sum(_bytes(path) for path in files.paths)
    if len(files) < WORTH_FILES and total < WORTH_BYTES:
        grown, facts = build(InMemory(str(files.root)))
        return _images(grown.array(), files, facts), facts
    prints = _prints(files, total)
    path = cache_folder() / f"{_key(files, prints, settings)}{ENDING}"
    found = _opened(path, files)
    if found is not None:
        return found
    try:
        with OnDisk(path.parent) as room:
            grown, facts = build(room)
            _refuse_changed(files, prints)
            images = _images(StoredPixels(grown.array()), files, facts)
            end = {"shape": images.pixels.shape, "content": images.content_hash(), "facts": facts}
            text = json.dumps(end).encode()
            room.keep(grown, text + END.pack(len(text), MAGIC), path)
            return images, facts
    except NoRoomError as error:
        tell(f"no cache of the images in {visible(str(path.parent))} ({error}): they are kept in memory")
        grown, facts = build(InMemory(str(files.root), f" (and the cache cannot be written: {error})"))
        _refuse_changed(files, prints)
        return _images(grown.array(), files, facts), facts


def cached_files() -> list[tuple[Path, int]]:
    """What the cache holds, finished or not, and how many bytes each file has."""
    folder = cache_folder()
    return [
        (path, _bytes(path))
        for path in (sorted(folder.iterdir()) if folder.is_dir() else [])
        if path.suffix in (ENDING, PART)
    ]


def _images(pixels: Pixels, files: ImageFiles, facts: Facts) -> Images:
    return Images(pixels, files.labels, tuple(facts["notes"]), files.names)


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # said when it is opened
        return 0


def _prints(files: ImageFiles, total: int) -> list[Print]:
    threads = threads_for(total, len(files))
    return [made for _, made in in_order(_print, files.paths, what="comparing image files", threads=threads)]


def _print(path: Path) -> Print:
    try:
        with open_regular(path) as file:
            status, digest = os.fstat(file.fileno()), hashlib.blake2b(digest_size=32)
            while block := file.read(2**20):
                digest.update(block)
    except OSError as error:
        raise UserError(f"unreadable image ({visible(reason(error))})", where=str(path)) from error
    return Print(digest.hexdigest(), _status(status))


def _status(found: os.stat_result) -> tuple[int, ...]:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _refuse_changed(files: ImageFiles, prints: list[Print]) -> None:
    """Pixels are decoded after the hash was taken: where a file changed in between, they are not those of the key."""
    for path, made in zip(files.paths, prints, strict=True):
        with contextlib.suppress(OSError):
            if _status(os.stat(path)) == made.status:
                continue
        raise UserError(
            "an image file changed while it was read",
            expected="a folder that nobody writes to; give the same command again",
            where=str(path),
        )


def _key(files: ImageFiles, prints: list[Print], settings: Mapping[str, Any]) -> str:
    versions = {name: features.version(name) for name in LIBRARIES}
    about = {"version": VERSION, "pillow": PIL.__version__, "libraries": versions, "settings": dict(settings)}
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for one, label in zip(prints, files.labels.tolist(), strict=True):
        digest.update(f"\n{one.digest} {label}".encode())
    return digest.hexdigest()


def _opened(path: Path, files: ImageFiles) -> tuple[Images, Facts] | None:
    """The images of a cached file; None where there is none, or a damaged one, which is told."""
    try:
        found = _end_of(path)
        shape = tuple(int(side) for side in found["shape"])
        pixels: NDArray[np.uint8] = np.memmap(path, np.uint8, "r", 0, shape)
        facts = dict(found["facts"])
        images = _images(StoredPixels(pixels), files, facts)
        if images.content_hash() != found["content"]:
            raise ValueError("its pixels are not those that were written")
        return images, facts
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        tell(f"the cached images in {visible(str(path))} are damaged ({visible(str(error))}) and made anew")
        return None


def _end_of(path: Path) -> Mapping[str, Any]:
    """The JSON at the end of a cached file; raises ValueError where it is not as long as it says."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - END.size))
        last = file.read()
        if len(last) != END.size or END.unpack(last)[1] != MAGIC:
            raise ValueError("its end is missing")
        length = END.unpack(last)[0]
        start = size - END.size - length
        if start < 0:
            raise ValueError("its end is longer than the file")
        file.seek(start)
        found: Mapping[str, Any] = json.loads(file.read(length))
    if start != int(np.prod([int(side) for side in found["shape"]], dtype=np.int64)):
        raise ValueError(f"{start:,} bytes of pixels for the shape {found['shape']}")
    return found
