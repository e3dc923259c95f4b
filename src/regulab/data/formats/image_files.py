"""Image files into memory: all of one size and kind, as bytes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regulab.data.dataset import Images
from regulab.data.formats.class_folders import ImageFiles
from regulab.data.formats.image_levels import DEEP, DEEP_COLOUR, FLOATING, Levels, read_levels
from regulab.data.formats.level_range import LevelRange, crowding, find_range
from regulab.data.regular_file import most_bytes
from regulab.errors import UserError

if TYPE_CHECKING:
    from regulab.config import Data

HALF = 128  # of 256: colours of 16 bits whose upper halves stay below hold 15 bits or fewer


@dataclass(frozen=True)
class Form:
    """The form that every image of a dataset must have, and the file that set the example."""

    example: Path
    size: tuple[int, int]  # height, width
    channels: int
    depth: str
    range: LevelRange | None  # where levels are deep


def read_training(data: Data, files: ImageFiles, training: NDArray[np.int64]) -> tuple[Images, Form]:
    """The images of the training split, and the form that they set for the test split. Grey where all of them are, else
    RGB. ``training`` are those that train by the dataset's own division: the range of deep levels is theirs, unless it
    is declared.
    """
    declared = data.range
    stack = _Stack(files, None)
    if stack.depth == DEEP_COLOUR:
        _refuse_dark(stack)
    if declared is not None and stack.depth not in (DEEP, FLOATING):
        raise UserError(
            f"a range has no effect on {stack.depth}",
            got=list(declared),
            expected="no data.range: it is for grey images of 16 or 32 bits",
            where="data.range",
        )
    if stack.depth not in (DEEP, FLOATING):
        form = Form(stack.example, stack.size, stack.channels, stack.depth, None)
        return Images(stack.array, files.labels, stack.notes("training"), files.names), form
    found = find_range(stack.array, training, declared, str(files.root))
    form = Form(stack.example, stack.size, 1, stack.depth, found)
    source = "as declared" if found.declared else "those of the training part"
    notes = [
        f"levels from {found.low:g} to {found.high:g}, {source}, became 0 to 255 in every image",
        crowding(stack.array, found),
    ]
    images = _scaled(stack, files, found, "training")
    return replace(images, notes=(*(note for note in notes if note), *images.notes)), form


def read_test(files: ImageFiles, form: Form) -> Images:
    """The images of the test split, all of ``form``."""
    stack = _Stack(files, form)
    if form.range is None:
        return Images(stack.array, files.labels, stack.notes("test"), files.names)
    return _scaled(stack, files, form.range, "test")


class _Stack:
    """Images of one size and depth, as stored: ``array`` ``(N, H, W, C)``, one file decoded at a time."""

    def __init__(self, files: ImageFiles, form: Form | None) -> None:
        self._files, self._seen = files, Counter[str]()
        first = read_levels(files.paths[0], form.size if form else None, form.example if form else None)
        self.size, self.depth = first.size, form.depth if form else first.depth
        self.example = form.example if form else files.paths[0]
        self.channels = form.channels if form else 3 if first.array.ndim == 3 else 1
        self._refuse_large(first.array.itemsize * self.channels)
        self.array: NDArray[Any] = np.empty((len(files), *self.size, self.channels), first.array.dtype)
        self._store(0, first, form)
        for index in range(1, len(files)):
            self._store(index, read_levels(files.paths[index], self.size, self.example), form)

    def notes(self, part: str) -> tuple[str, ...]:
        """What was done to the files, with counts."""
        return tuple(
            f"{count:,} of {len(self._files):,} {part} images {what}" for what, count in self._seen.items()
        )

    def _store(self, index: int, levels: Levels, form: Form | None) -> None:
        path = self._files.paths[index]
        if levels.depth != self.depth:
            raise UserError(
                "images of different depths: the same number would not mean the same brightness",
                got=levels.depth,
                expected=f"{self.depth} as in {self.example}; convert all of them to one kind",
                where=str(path),
            )
        if levels.array.ndim == 3 and self.channels == 1:
            if form is not None:
                raise UserError(
                    "a colour image in the test split, though all training images are grey",
                    expected="grey",
                    where=str(path),
                )
            self._refuse_large(3 * self.array.itemsize)
            self.array, self.channels = np.repeat(self.array, 3, axis=3), 3
        if not np.can_cast(levels.array.dtype, self.array.dtype):
            self.array = self.array.astype(np.promote_types(levels.array.dtype, self.array.dtype))
        self.array[index] = levels.array if levels.array.ndim == 3 else levels.array[..., np.newaxis]
        self._seen["hold several frames, of which the first counts"] += levels.several_frames
        self._seen["are CMYK, converted without a colour profile"] += levels.cmyk
        self._seen["have colours of 16 bits, of which the upper 8 count"] += levels.depth == DEEP_COLOUR
        self._seen += Counter()  # drops what was not seen

    def _refuse_large(self, bytes_per_pixel: int) -> None:
        height, width = self.size
        needed = len(self._files) * height * width * bytes_per_pixel
        if needed > most_bytes():
            raise UserError(
                "the images take more memory than there is for them",
                got=f"{needed:,} bytes for {len(self._files):,} images of {width} × {height} pixels",
                expected=f"at most {most_bytes():,} bytes, half of this machine's memory; make them smaller",
                where=str(self.example),
            )


def _scaled(stack: _Stack, files: ImageFiles, found: LevelRange, part: str) -> Images:
    pixels = np.empty(stack.array.shape, np.uint8)
    cut = 0
    for index, levels in enumerate(stack.array):
        pixels[index] = found.to_bytes(levels)
        cut += found.outside(levels) > 0
    notes = stack.notes(part)
    if cut:
        notes += (
            f"{cut:,} of {len(pixels):,} {part} images hold levels beyond that range; they were cut to it",
        )
    return Images(pixels, files.labels, notes, files.names)


def _refuse_dark(stack: _Stack) -> None:
    """12-bit colours in 16-bit files: of their upper 8 bits, which is what Pillow gives, only 4 say anything."""
    brightest = int(stack.array.max())
    if brightest < HALF:
        raise UserError(
            "colours of 16 bits that hold fewer",
            got=f"none above {brightest * 257:,} of 65,535",
            expected="colours that use their range, or images converted to 8 bits",
            where=str(stack.example),
        )
