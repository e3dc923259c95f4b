"""Where people's own images come without a test split: a fixed fifth to test and another fifth to validate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regulab.data.stratify import largest_part, stratified
from regulab.errors import UserError

Indices = NDArray[np.int64]


def fifths(labels: Indices, classes: int, where: str, otherwise: str) -> tuple[Indices, Indices, Indices]:
    """Which of the images ``(N,)`` train or validate, which *of these* validate, and which test; ascending each.

    Stratified by class, the same for every seed and machine as long as the images stand in the same order (see
    `stratified`). Raises `UserError` where there are too few; ``otherwise`` says what else would do.
    """
    part = _fifth(labels, 2, classes, where, otherwise)
    rest, test = fifth(labels, classes, where, otherwise)
    return rest, stratified(labels[rest], part, "validation"), test


def fifth(labels: Indices, classes: int, where: str, otherwise: str) -> tuple[Indices, Indices]:
    """As `fifths` where a validation part is given: which of the other images train, and which test."""
    test = stratified(labels, _fifth(labels, 1, classes, where, otherwise), "test")
    return np.setdiff1d(np.arange(len(labels)), test, assume_unique=True), test


def _fifth(labels: Indices, times: int, classes: int, where: str, otherwise: str) -> int:
    """How many images are a fifth; raises `UserError` where so many cannot be cut so often."""
    part = round(len(labels) / 5)
    if part < 1 or times * part > largest_part(np.bincount(labels)):
        raise UserError(
            f"too few images to cut a test{' and a validation' if times > 1 else ''} part from",
            got=f"{len(labels)} images in {classes} classes",
            expected=f"more images in each class, or {otherwise}",
            where=where,
        )
    return part
