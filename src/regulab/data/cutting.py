"""Where people's own images come without a test split: a fixed fifth to test and another fifth to validate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regulab.data.groups import Labelled, part_of
from regulab.data.stratify import largest_part
from regulab.errors import UserError

Indices = NDArray[np.int64]


def fifths(images: Labelled, where: str, otherwise: str) -> tuple[Indices, Indices, Indices]:
    """Which of the images ``(N,)`` train or validate, which *of these* validate, and which test; ascending each.

    Stratified by class, or of whole groups, the same for every seed and machine as long as the images stand in the same
    order (see `part_of`). Raises `UserError` where there are too few; ``otherwise`` says what else would do.
    """
    part = _fifth(images, 2, where, otherwise)
    test = part_of(images, part, "test", keep=2)
    rest = np.setdiff1d(np.arange(len(images.labels)), test, assume_unique=True)
    return rest, part_of(images.take(rest), part, "validation"), test


def fifth(images: Labelled, where: str, otherwise: str) -> tuple[Indices, Indices]:
    """As `fifths` where a validation part is given: which of the other images train, and which test."""
    test = part_of(images, _fifth(images, 1, where, otherwise), "test")
    return np.setdiff1d(np.arange(len(images.labels)), test, assume_unique=True), test


def _fifth(images: Labelled, times: int, where: str, otherwise: str) -> int:
    """How many images are a fifth; raises `UserError` where so many cannot be cut so often."""
    labels = images.labels
    part = round(len(labels) / 5)
    if part < 1 or times * part > largest_part(np.bincount(labels)):
        raise UserError(
            f"too few images to cut a test{' and a validation' if times > 1 else ''} part from",
            got=f"{len(labels)} images in {len(images.class_names)} classes",
            expected=f"more images in each class, or {otherwise}",
            where=where,
        )
    return part
