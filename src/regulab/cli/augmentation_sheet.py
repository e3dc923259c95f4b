"""A sheet of samples of augmentation: a row for every operation, the picture itself at the left of its changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from regulab.config import Study, validate
from regulab.data.augmentation import AugmentSettings, all_operations, augment, columns_of, draw_epoch
from regulab.data.picture import load_picture
from regulab.errors import UserError
from regulab.reporting.rendering import DOTS_PER_INCH, INK, render, verbatim
from regulab.streams import Streams
from regulab.techniques import arms_of
from regulab.techniques.adding import AddedOperation, augmentation_of
from regulab.techniques.augmentation import Augmentation

SAMPLES = 8
LONGEST, TILE, GAP, LABELS, MARGIN = 224, 112, 6, 330, 14  # pixels
SHEET = "sheet of samples"  # whose draws they are


def sheet(picture: Path, study: Study | None, names: Sequence[str] = ()) -> tuple[bytes, tuple[str, ...]]:
    """The PNG of a sheet, and what a person should know of it.

    Rows are every operation by itself as its examples have it, or those of the ``names``, or what a study's
    augmentation and that of its arms are. A side of the picture has 224 pixels at most, which is what amounts in
    pixels are of. `UserError` for a picture that cannot be read, and for operations that do not go with it.
    """
    found = load_picture(picture, LONGEST)
    levels = np.atleast_3d(found.levels).astype(np.float32)
    x = torch.from_numpy(np.moveaxis(levels, -1, 0))[None]
    channels, height, width = x.shape[1:]
    if study is None:
        rows, left_out = _examples(names, channels, height, width)
    else:
        rows, left_out = of_study(study), []
        for where, settings in rows.items():
            settings.require(where, channels, height, width)
    notes = [f"the picture: {height} × {width} pixels", *found.notes]
    if left_out:
        kind = "a grey picture" if channels == 1 else "a picture of this size"
        notes.append(f"left out, as {kind} does not take it: {', '.join(left_out)}")
    if any(settings.needs_mean for settings in rows.values()):
        notes.append("mean: that of the picture; in training it is that of the training images")
    tiles = {settings.label(): changed(x, settings) for settings in rows.values()}
    return _drawn(x[0], tiles), tuple(notes)


def of_study(study: Study) -> dict[str, AugmentSettings]:
    """The different settings of a study, by the key of the first that has each."""
    found: dict[str, AugmentSettings] = {}
    for arm, techniques in arms_of(study).items():
        settings = augmentation_of(techniques)
        if settings is not None and settings not in found.values() and settings.active:
            asked = [t.name for t in techniques if isinstance(t, AddedOperation | Augmentation)]
            own = [name for name in asked if name in study.arms[arm]]
            found[f"arms.{arm}.{own[0]}" if own else "data.augment"] = settings
    if not found:
        raise UserError(
            f"the study {study.name} augments nothing",
            expected="data.augment, or an arm with augmentation",
            cure="without a study and KEY=VALUE the sheet shows every operation",
        )
    return found


def changed(x: Tensor, settings: AugmentSettings) -> Tensor:
    """``(SAMPLES, C, H, W)``: a picture ``(1, C, H, W)`` changed by draws that are the same every time."""
    drawn = draw_epoch(Streams(SHEET, 0), 1, SAMPLES, columns_of([settings]))
    draws = {stream: torch.from_numpy(table) for stream, table in drawn.items()}
    mean = x.mean((0, 2, 3))[:, None, None]
    return augment(x.repeat(SAMPLES, 1, 1, 1), draws, settings.operations(), mean)


def _examples(
    names: Sequence[str], channels: int, height: int, width: int
) -> tuple[dict[str, AugmentSettings], list[str]]:
    """A row for every operation that goes with such a picture, and the names of the others.

    Of those that are named, where any is, each has to go with it.
    """
    rows: dict[str, AugmentSettings] = {}
    left_out: list[str] = []
    for name, kind in all_operations().items():
        asked = not {name, *kind.keys}.isdisjoint(names)
        if names and not asked:
            continue
        for place, said in enumerate(kind.samples(min(height, width))):
            settings = validate(AugmentSettings, said, name)
            if asked:
                settings.require("data.augment", channels, height, width)
            elif settings.refusal(channels, height, width):
                left_out.append(name)
                break
            rows[f"{name} {place}"] = settings
    return rows, left_out


def _drawn(original: Tensor, rows: Mapping[str, Tensor]) -> bytes:
    """Labels at the left, then the picture, then its changes, enlarged by a whole factor where it is small."""
    factor = max(1, TILE // max(original.shape[1:]))
    lines = [_line([original, *samples], factor) for samples in rows.values()]
    line_height, line_width = lines[0].shape[:2]
    width = LABELS + line_width + MARGIN
    height = 2 * MARGIN + len(lines) * (line_height + GAP) - GAP
    canvas = np.ones((height, width, 3), np.float32)
    figure = Figure(figsize=(width / DOTS_PER_INCH, height / DOTS_PER_INCH))
    for place, (label, line) in enumerate(zip(rows, lines, strict=True)):
        top = MARGIN + place * (line_height + GAP)
        canvas[top : top + line_height, LABELS : LABELS + line_width] = line
        middle = 1 - (top + line_height / 2) / height
        text = figure.text(MARGIN / width, middle, _wrapped(label), fontsize=7.5, color=INK, va="center")
        verbatim(text)
    figure.figimage(canvas, 0, 0, origin="upper")
    return render(figure, "png")


def _line(images: Sequence[Tensor], factor: int) -> NDArray[np.float32]:
    """Pictures ``(C, H, W)`` side by side as ``(H, W, 3)``, more space after the first."""
    found = []
    for place, image in enumerate(images):
        tile = image.expand(3, -1, -1).permute(1, 2, 0).numpy().repeat(factor, 0).repeat(factor, 1)
        space = 0 if place == 0 else 3 * GAP if place == 1 else GAP
        found += [np.ones((len(tile), space, 3), np.float32), tile]
    return np.concatenate(found, 1)


def _wrapped(label: str, longest: int = 32) -> str:
    """A legend in lines that fit beside a row, broken after commas."""
    lines = [""]
    for part in label.split(", "):
        more = f"{lines[-1]}, {part}" if lines[-1] else part
        if len(more) > longest and lines[-1]:
            lines[-1] += ","
            lines.append(part)
        else:
            lines[-1] = more
    return "\n".join(lines)
