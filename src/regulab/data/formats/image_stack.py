"""Images read one after another into one array: of one size, as many channels as any has, their depths told apart."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulab.data.formats.class_folders import ImageFiles
from regulab.data.formats.fitting import WORDS, Fit
from regulab.data.formats.image_levels import DEEP_COLOUR, EIGHT, FLOATING, Levels, read_levels
from regulab.data.formats.in_order import in_order, threads_for
from regulab.data.formats.level_range import LevelRange
from regulab.data.room import Growing, Room
from regulab.errors import UserError

HALF = 128  # of 256: colours of 16 bits whose upper halves stay below hold 15 bits or fewer
BYTES = (EIGHT, DEEP_COLOUR)  # of 16-bit colours Pillow gives the upper 8: both are bytes of one meaning
WHAT = "reading image files"


@dataclass(frozen=True)
class Form:
    """The form that every image of a dataset must have, and the file that set the example."""

    example: Path
    size: tuple[int, int]  # height, width
    channels: int
    depth: str
    range: LevelRange | None  # where any levels are deep
    fit: Fit | None = None

    @staticmethod
    def of(stack: Stack, found: LevelRange | None) -> Form:
        """The form of the images that were read, with the range of their levels."""
        return Form(stack.example, stack.size, stack.channels, stack.depth, found, stack.fit)

    def to_json(self) -> dict[str, Any]:
        """All but the example and the fit, which the files and the study give."""
        found = None if self.range is None else [self.range.low, self.range.high, self.range.declared]
        return {"size": list(self.size), "channels": self.channels, "depth": self.depth, "range": found}

    @staticmethod
    def from_json(content: Mapping[str, Any], example: Path, fit: Fit | None) -> Form:
        """The opposite of `to_json`."""
        found = None if content["range"] is None else LevelRange(*content["range"])
        height, width = content["size"]
        return Form(example, (height, width), content["channels"], content["depth"], found, fit)


class MixedDepthsError(UserError):
    """Images of 8 bits and of more in one dataset."""


class Stack:
    """Images of one size and depth: ``grown`` ``(N, H, W, C)``, as stored, or bytes where the depth is of bytes.

    With a ``range`` images of more than 8 bits become bytes by it, beside those that are; without one they raise
    `MixedDepthsError`. ``form`` is what the training images set, None where these are they. Raises `UserError` for an
    image of another size (where nothing fits them to one), a colour image where all of ``form`` are grey, and colours
    of 16 bits that are all dark.
    """

    def __init__(
        self,
        files: ImageFiles,
        form: Form | None,
        fit: Fit | None,
        room: Room,
        found: LevelRange | None = None,
    ) -> None:
        self._files, self._form, self.fit, self._room, self.range = files, form, fit, room, found
        self._seen = Counter[str]()
        self._sizes: set[tuple[int, int]] = set()
        self._outside = self._brightest = 0
        self._deep_colour: Path | None = None
        self.example = form.example if form else files.paths[0]
        expected = form.size if form else None
        first = read_levels(files.paths[0], fit, expected, self.example)
        self.size = first.size
        self.depth = form.depth if form else EIGHT if found or first.depth in BYTES else first.depth
        self.channels = form.channels if form else 3 if first.array.ndim == 3 else 1
        self.dtype = np.dtype(np.uint8) if self.depth in BYTES else first.array.dtype
        self.grown: Growing = self._new()
        for path, levels in self._all(first):
            self._store(path, levels)
        if self._deep_colour is not None and form is None and self._brightest < HALF:
            raise _dark(self._brightest, self._deep_colour)

    def notes(self, part: str) -> tuple[str, ...]:
        """What was done to the files, with counts."""
        counted = tuple(
            f"{count:,} of {len(self._files):,} {part} images {what}" for what, count in self._seen.items()
        )
        if self.fit is None or self._sizes <= {self.fit.size}:
            return counted
        least, most = (pick(self._sizes, key=lambda size: size[0] * size[1]) for pick in (min, max))
        sizes = f"{len(self._sizes):,} sizes, {_words(least)} to {_words(most)} pixels,"
        if len(self._sizes) == 1:
            sizes = f"{_words(most)} pixels"
        how = f"{self.fit.how}: {WORDS[self.fit.how]}"
        return (f"{part} images of {sizes} were brought to {_words(self.fit.size)} ({how})", *counted)

    def _all(self, first: Levels) -> Iterator[tuple[Path, Levels]]:
        paths = self._files.paths
        yield paths[0], first
        total = sum(os.stat(path).st_size for path in paths if os.path.exists(path))
        read = partial(read_levels, fit=self.fit, size=self.size, example=self.example)
        yield from in_order(read, paths[1:], what=WHAT, threads=threads_for(total, len(paths)))

    def _store(self, path: Path, levels: Levels) -> None:
        if levels.depth == DEEP_COLOUR:
            self._deep_colour = self._deep_colour or path
            self._brightest = max(self._brightest, int(levels.array.max()))
        array = self._as_bytes(path, levels) if self.depth in BYTES else levels.array
        if self.depth not in BYTES and levels.depth != self.depth:
            raise self._mixed(path, levels.depth)
        if array.ndim == 3 and self.channels == 1:
            if self._form is not None:
                raise UserError(
                    "a colour image in the test split, though all training images are grey",
                    expected="grey",
                    where=str(path),
                )
            self.channels = 3
            self._grow_wider()
        if not np.can_cast(array.dtype, self.dtype):
            self.dtype = np.promote_types(array.dtype, self.dtype)
            self._grow_wider()
        self._append(array)
        self._count(levels)

    def _as_bytes(self, path: Path, levels: Levels) -> NDArray[Any]:
        if levels.depth in BYTES:
            return levels.array
        if self.range is None or levels.depth == FLOATING:
            raise self._mixed(path, levels.depth)
        outside = self.range.outside(levels.array)
        self._seen["hold levels beyond the declared range; they were cut to it"] += outside > 0
        self._seen[f"have more than 8 bits: {self.range.low:g} to {self.range.high:g} became 0 to 255"] += 1
        return self.range.to_bytes(levels.array)

    def _mixed(self, path: Path, depth: str) -> MixedDepthsError:
        cure = "where 16 bits span everything from black to white, `range: [0, 65535]` under `data` says so"
        return MixedDepthsError(
            "images of different depths: the same number would not mean the same brightness",
            got=depth,
            expected=f"{self.depth} as in {self.example}; convert all of them to one kind",
            where=str(path),
            cure=cure if self._form is None and FLOATING not in (self.depth, depth) else "",
        )

    def _count(self, levels: Levels) -> None:
        self._sizes.add(levels.stored)
        enlarged = self.fit is not None and self.fit.enlarges(*levels.stored)
        self._seen["are smaller than that, and were enlarged"] += enlarged
        self._seen["hold several frames, of which the first counts"] += levels.several_frames
        self._seen["are CMYK, converted without a colour profile"] += levels.cmyk
        self._seen["have colours of 16 bits, of which the upper 8 count"] += levels.depth == DEEP_COLOUR
        self._seen += Counter()  # drops what was not seen

    def _new(self) -> Growing:
        return self._room.images(len(self._files), (*self.size, self.channels), self.dtype)

    def _grow_wider(self) -> None:
        """Copies what there is into room of more channels or of a wider type."""
        before = self.grown.array()
        self.grown = self._new()
        for image in before:
            self._append(image)

    def _append(self, image: NDArray[Any]) -> None:
        whole = image if image.ndim == 3 else image[..., np.newaxis]
        self.grown.append(np.broadcast_to(whole, (*self.size, self.channels)))


def _words(size: tuple[int, int]) -> str:
    return f"{size[1]:,} × {size[0]:,}"


def _dark(brightest: int, path: Path) -> UserError:
    """12-bit colours in 16-bit files: of their upper 8 bits, which is what Pillow gives, only 4 say anything."""
    return UserError(
        "colours of 16 bits that hold fewer",
        got=f"none above {brightest * 257:,} of 65,535",
        expected="colours that use their range, or images converted to 8 bits",
        where=str(path),
    )
