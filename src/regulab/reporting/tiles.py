"""Test images as tiles of the page: views of some of them, which share one picture of all."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from regulab.records import Mistakes, StudyRecords
from regulab.reporting.image_files import ImageFile, image_file
from regulab.reporting.mistakes import PLACES

COLUMNS = 20  # of the shared picture
LARGEST = 64  # pixels of an image's longer side; larger ones are reduced


@dataclass(frozen=True)
class Tile:
    """One test image, what it shows, and what was predicted with which confidence by which runs."""

    index: int
    actual: int
    predicted: int
    confidence: float
    runs: str
    file: ImageFile | None = None


@dataclass(frozen=True)
class View:
    """Some of an arm's images, and in words which ones, of how many."""

    heading: str
    words: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Sprite:
    """All images that any tile shows, side by side in one PNG, ``COLUMNS`` in a row."""

    indices: tuple[int, ...]
    content: bytes
    rows: int
    ratio: str  # width / height of a single image
    reduced: bool

    @property
    def inline(self) -> Markup:
        return Markup(f"data:image/png;base64,{base64.b64encode(self.content).decode()}")

    def place(self, index: int) -> str:
        """Where CSS finds the image, as ``x y`` of ``background-position``."""
        row, column = divmod(self.indices.index(index), COLUMNS)
        across = 100 * column / (COLUMNS - 1)
        down = 100 * row / (self.rows - 1) if self.rows > 1 else 0.0
        return f"{across:.4g}% {down:.4g}%"


def view_of(
    records: StudyRecords,
    heading: str,
    images: NDArray[np.int64],
    arm: str,
    rule: str,
    chance: str | None = None,
) -> View:
    """Test images that some ``rule`` chose, as an arm's runs took them; ``chance`` says how many it would by chance.

    Tiles by the share of the arm's runs that are wrong, then by their mean confidence; so many as a gallery has.
    """
    beside = f"; {chance}" if chance else ""
    if not len(images):
        return View(heading, f"{rule}: no image{beside}.", ())
    if records.mistakes is None:
        absent = f"{len(images)}, but the images are not in the run directory"
        return View(heading, f"{rule}: {absent}{beside}.", ())
    found = [_summary(records, arm, int(index)) for index in images]
    ranked = [tile for _, tile in sorted(found, key=lambda one: (-one[0], -one[1].confidence, one[1].index))]
    count = f"{len(images)} image{'s' if len(images) > 1 else ''}"
    shown = f", {PLACES} of them shown" if len(images) > PLACES else ""
    return View(heading, f"{rule}: {count}{shown}{beside}.", tuple(ranked[:PLACES]))


def sprite(mistakes: Mistakes | None, views: Iterable[View]) -> Sprite | None:
    """The picture that all tiles of the views share; None where there is nothing to show."""
    indices = sorted({tile.index for view in views for tile in view.tiles})
    if mistakes is None or not indices:
        return None
    height, width, channels = mistakes.images.shape[1:]
    scale = min(1.0, LARGEST / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    rows = -(-len(indices) // COLUMNS)
    sheet = Image.new("L" if channels == 1 else "RGB", (COLUMNS * size[0], rows * size[1]))
    for place, index in enumerate(indices):
        image = mistakes.image(index)
        picture = Image.fromarray(image[:, :, 0] if channels == 1 else image)
        reduced = picture.resize(size, Image.Resampling.LANCZOS) if scale < 1 else picture
        sheet.paste(reduced, (place % COLUMNS * size[0], place // COLUMNS * size[1]))
    buffer = io.BytesIO()
    sheet.save(buffer, "png", optimize=True)
    return Sprite(tuple(indices), buffer.getvalue(), rows, f"{width} / {height}", scale < 1)


def _summary(records: StudyRecords, arm: str, index: int) -> tuple[float, Tile]:
    """The share of the arm's runs that get the image wrong, and its tile: their commonest prediction."""
    runs = [records.predictions[run] for run in sorted(records.predictions) if run[0] == arm]
    actual = int(runs[0].labels[index])
    wrong = [run for run in runs if run.predicted[index] != actual]
    predicted = int(np.bincount([run.predicted[index] for run in wrong]).argmax())
    alike = [float(run.confidence[index]) for run in wrong if run.predicted[index] == predicted]
    words = f"{len(alike)} of {len(runs)} runs" if len(runs) > 1 else "the only run"
    return len(wrong) / len(runs), Tile(
        index, actual, predicted, float(np.mean(alike)), words, image_file(records, index)
    )
