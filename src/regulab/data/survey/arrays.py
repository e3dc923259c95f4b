"""The images of a file of arrays, looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from regulab.config import Data
from regulab.data.alike import alike, without_images
from regulab.data.dataset import Images
from regulab.data.formats.array_keys import TEST, TRAIN, VAL, arrays_by_part
from regulab.data.formats.npz import npz_dataset
from regulab.data.formats.npz_file import NpzFile
from regulab.data.survey.facts import Facts, content_digest, is_blank
from regulab.data.survey.survey import WHOLE, Survey

FORMAT = "npz"


def survey_arrays(path: Path) -> Survey:
    """What a file of arrays holds; raises `UserError` for what a study would refuse. Its values are bytes already."""
    named, _ = arrays_by_part(NpzFile(path).shapes, str(path))
    content = npz_dataset(Data(name=f"{FORMAT}:{path}"), path).load(path.parent)
    validation = content.validation_indices
    train = np.arange(len(content.train))
    if validation is not None:
        train = np.setdiff1d(train, validation)
    found = {TRAIN: content.train.take(train), TEST: content.open_test()}
    if validation is not None:
        found[VAL] = content.train.take(validation)
    whole = TEST not in named and VAL not in named  # a study cuts all parts out of one
    facts = [one for part, images in found.items() for one in _facts(images, WHOLE if whole else part)]
    said = alike(content.class_names), without_images(content.class_names, content.train.labels)
    notes = tuple(dict.fromkeys((*content.notes, *content.train.notes, *said[0], *said[1])))
    return Survey(path, FORMAT, content.class_names, facts, notes=notes)


def _facts(images: Images, part: str) -> list[Facts]:
    _, height, width, channels = images.pixels.shape
    return [
        Facts(
            f"{part} {index}",
            part,
            label,
            (width, height),
            channels,
            blank=is_blank(pixels),
            digest=content_digest(pixels),
        )
        for index, (pixels, label) in enumerate(
            zip(np.asarray(images.pixels), images.labels.tolist(), strict=True)
        )
    ]
