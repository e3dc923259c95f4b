"""Image files as images: all of one size and kind, as bytes."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regulab.data.dataset import Images
from regulab.data.formats.class_folders import ImageFiles
from regulab.data.formats.fitting import Fit
from regulab.data.formats.image_cache import Facts, remembered
from regulab.data.formats.image_levels import DEEP, DEEP_COLOUR, EIGHT, FLOATING
from regulab.data.formats.image_stack import Form, MixedDepthsError, Stack
from regulab.data.formats.level_range import LevelRange, crowding, find_range
from regulab.data.room import Growing, Room
from regulab.errors import UserError

if TYPE_CHECKING:
    from regulab.config import Data


def read_training(data: Data, files: ImageFiles, training: NDArray[np.int64]) -> tuple[Images, Form]:
    """The images of the training split, and the form that they set for the test split.

    ``data`` says the size and what fits them to it (`Fit`), and the range of deep levels (`LevelRange`). Grey where all
    of them are, else RGB. ``training`` are indices of those that train by the dataset's own division: the range of deep
    levels is theirs, unless it is declared. Read by several threads, which changes nothing, and kept in the cache
    (`remembered`). Notes say what was done; ``Images.files`` are names from ``files.root``.
    """
    fit = Fit.of(data)
    settings = {
        "fit": None if fit is None else asdict(fit),
        "range": data.range,
        "training": hashlib.sha256(np.ascontiguousarray(training, "<i8").data).hexdigest(),
    }
    build = partial(_training, files, fit, training, data.range)
    images, facts = remembered(files, settings, build)
    form = Form.from_json(facts["form"], files.paths[0], fit)
    return images, form


def read_test(files: ImageFiles, form: Form) -> Images:
    """The images of the test split, all of ``form``."""
    settings = {"form": form.to_json(), "fit": None if form.fit is None else asdict(form.fit)}
    return remembered(files, settings, partial(_test, files, form))[0]


def _training(
    files: ImageFiles,
    fit: Fit | None,
    training: NDArray[np.int64],
    declared: tuple[float, float] | None,
    room: Room,
) -> tuple[Growing, Facts]:
    where = str(files.root)
    try:
        stack = Stack(files, None, fit, room)
    except MixedDepthsError:
        if declared is None:
            raise
        # Each is clear by itself: 8 bits as they are, more by the range that was declared.
        stack = Stack(files, None, fit, room, LevelRange(*declared, True))
        return stack.grown, _facts(stack, Form.of(stack, stack.range), stack.notes("training"))
    deep = stack.depth in (DEEP, FLOATING)
    if declared is not None and not deep:
        raise UserError(
            f"a range has no effect on {stack.depth}",
            got=list(declared),
            expected="no data.range: it is for grey images of 16 or 32 bits",
            where="data.range",
        )
    if not deep:
        return stack.grown, _facts(stack, Form.of(stack, None), stack.notes("training"))
    levels = stack.grown.array()
    found = find_range(levels, training, declared, where)
    source = "as declared" if found.declared else "those of the training part"
    notes = [
        f"levels from {found.low:g} to {found.high:g}, {source}, became 0 to 255 in every image",
        crowding(levels, found),
    ]
    grown, cut = _scaled(levels, found, "training", room)
    said = (*(note for note in notes if note), *stack.notes("training"), *cut)
    return grown, _facts(stack, Form.of(stack, found), said)


def _test(files: ImageFiles, form: Form, room: Room) -> tuple[Growing, Facts]:
    in_bytes = form.depth in (EIGHT, DEEP_COLOUR)
    stack = Stack(files, form, form.fit, room, form.range if in_bytes else None)
    notes = stack.notes("test")
    if in_bytes or form.range is None:
        return stack.grown, {"notes": list(notes)}
    grown, cut = _scaled(stack.grown.array(), form.range, "test", room)
    return grown, {"notes": [*notes, *cut]}


def _facts(stack: Stack, form: Form, notes: tuple[str, ...]) -> Facts:
    return {"notes": list(notes), "form": form.to_json()}


def _scaled(
    levels: NDArray[Any], found: LevelRange, part: str, room: Room
) -> tuple[Growing, tuple[str, ...]]:
    """Deep levels as bytes, and what is to be said of those beyond the range."""
    grown, cut = room.images(len(levels), levels.shape[1:], np.uint8), 0
    for image in levels:
        grown.append(found.to_bytes(image))
        cut += found.outside(image) > 0
    if not cut:
        return grown, ()
    return grown, (
        f"{cut:,} of {len(levels):,} {part} images hold levels beyond that range; they were cut to it",
    )
